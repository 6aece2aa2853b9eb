function runNetwork(widget) {
  const { root, model, meta, data, announce } = widget;
  const { shape: [height, width], spacing, low, high, prior, coarsest } = meta;
  const known = globalThis.mrilabNetworks, entry = known?.[prior];
  if (entry && typeof WebAssembly === "undefined") {
    throw new Error("The browser cannot run a network: it has no WebAssembly. A newer one can.");
  }
  const take = reader(data), unit = (high - low) / 255, stored = count => Float64Array.from(take(count), v => low + unit * v);
  const matrix = size => [height, width].map((n, a) => Math.max(1, Math.round(n * spacing[a] / Math.max(size, spacing[a]))));
  const image = stored(height * width);
  const kspace = fft2c({ re: image, im: null, height, width });
  const opening = { sigma: meta.sigma, size: Math.max(...spacing), seed: 1 };       // its answer is stored
  const answer = stored(matrix(opening.size).reduce((a, b) => a * b));
  const state = { ...opening, engine: null, busy: false, again: false, result: null, denoised: null };

  const panels = pictures(root, ["with noise", "denoised", "without noise"]);
  const controls = make("div", { class: "mri-controls" });
  root.append(controls);
  slider(controls, "Noise level σ", { min: 0.02, max: 0.6, step: 0.01, value: state.sigma, format: v => v.toFixed(2) },
    v => { state.sigma = v; prepare(); });
  slider(controls, "Voxel size", { min: opening.size, max: coarsest, step: 0.1, value: state.size,
    format: v => `${short(v)} mm` }, v => { state.size = v; prepare(); });
  const actions = make("div", { class: "mri-row" });
  root.append(actions);
  const load = button(actions, "Run the network", start);
  button(actions, "New noise", () => { state.seed += 2; prepare(); }).classList.add("mri-plain");
  const facts = make("p", { class: "mri-facts" });
  root.append(facts);
  const megabytes = n => `${(n / 1e6).toFixed(1)} MB`;
  if (entry) load.textContent = `Load and run the network (${megabytes(entry.bytes + known.runtime)})`;

  // the slice at the voxel size asked for, clean and noisy, as { re, im, height, width }
  let clean, noisy, voxel;
  const prepare = perFrame(root, () => {
    const shape = matrix(state.size);
    voxel = [height * spacing[0] / shape[0], width * spacing[1] / shape[1]];
    const part = crop(kspace, ...shape), gain = Math.sqrt(shape[0] * shape[1] / (height * width));
    clean = fft2c({ ...part, re: part.re.map(v => gain * v), im: part.im.map(v => gain * v) }, true);
    const count = shape[0] * shape[1], add = (values, seed) => {
      const n = normals(count, seed);
      return values.map((v, i) => v + state.sigma * n[i]);
    };
    noisy = { re: add(clean.re, state.seed), im: add(clean.im, state.seed + 1), height: shape[0], width: shape[1] };
    state.result = null;
    state.denoised = Object.entries(opening).every(([name, value]) => state[name] === value) ? answer : null;
    draw();
    compute();
  });

  function draw() {
    const same = { height: clean.height, width: clean.width, spacing: voxel, low: 0, high };
    const truth = magnitude(clean), seen = magnitude(noisy), { denoised } = state;
    panels[0].draw({ values: seen, ...same }, { bar: 20 });
    panels[0].caption("with noise", `${psnr(seen, truth).toFixed(1)} dB`);
    if (denoised) panels[1].draw({ values: denoised, ...same }, { bar: 20 });
    else panels[1].say(state.engine ? "…" : "not run yet", { values: truth, ...same });
    panels[1].caption("denoised", denoised ? `${psnr(denoised, truth).toFixed(1)} dB` : "");
    panels[2].draw({ values: truth, ...same }, { bar: 20 });
    panels[2].caption("without noise", sizes(voxel));
    root.dataset.input = JSON.stringify([state.sigma, noisy.height, noisy.width]);
    panels[0].canvas.complex = noisy;             // what the browser tests compare with torch
    panels[1].canvas.complex = state.result;
    if (!state.engine) facts.textContent = `${summary()}${denoised ? ", computed beforehand" : ""}. ` + (entry
      ? `The network has ${(entry.parameters / 1e6).toFixed(2)} million weights and will run in this browser.`
      : "The network runs in the kernel.");
  }

  function summary() {
    const truth = magnitude(clean), quality = values => `${psnr(values, truth).toFixed(1)} dB`;
    return `σ = ${state.sigma.toFixed(2)}, voxels of ${sizes(voxel)}`
      + (state.denoised ? `: PSNR ${quality(magnitude(noisy))} before, ${quality(state.denoised)} after` : "");
  }

  async function start() {
    load.disabled = true;
    load.textContent = "Loading …";
    try {
      state.engine = entry ? await inBrowser(entry, known, prior) : inKernel(model);
      load.textContent = entry ? "Runs in this browser" : "Runs in the kernel";
      await compute();
    } catch (error) {
      load.disabled = false;
      load.textContent = "Try again";
      widget.fail(new Error(`The network did not load: ${error.message}`));
    }
  }

  // one run at a time; what changed meanwhile is run afterwards
  async function compute() {
    if (!state.engine) return;
    if (state.busy) { state.again = true; return; }
    state.busy = true;
    try {
      do {
        state.again = false;
        await new Promise(resolve => setTimeout(resolve, 30));      // let the page draw the slider
        const input = noisy, sigma = state.sigma, begin = performance.now();
        const result = await state.engine(input, sigma);
        if (input !== noisy || sigma !== state.sigma) { state.again = true; continue; }
        const ms = performance.now() - begin;
        root.dataset.network = ms.toFixed(0);
        state.result = result;
        state.denoised = magnitude(result);
        draw();
        const told = summary();
        facts.textContent = `${told}. ${noisy.height} × ${noisy.width} voxels took ${ms.toFixed(0)} ms.`;
        announce(told);
      } while (state.again);
    } catch (error) {
      widget.fail(new Error(`The network did not run: ${error.message}`));
    } finally {
      state.busy = false;
    }
  }

  root.addEventListener("mri-theme", draw);
  prepare();
}

// From _static of the built book. Scripts and base64, because a page opened from a file may fetch nothing.
const statics = path => new URL(`../${path}`, document.querySelector('script[src*="widgets/embed-amd.js"]').src).href;

const script = path => new Promise((resolve, reject) => {
  const element = make("script", { src: statics(path) });
  element.onload = resolve;
  element.onerror = () => reject(new Error(`${path} is missing.`));
  document.head.append(element);
});

const packed = text => unpack(new DataView(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer));

async function inBrowser(entry, known, prior) {
  await Promise.all([script("ort/runtime.js"), script(`networks/${entry.file}`)]);
  const { code, wasm } = globalThis.mrilabRuntime;
  const url = URL.createObjectURL(new Blob([await packed(code)], { type: "text/javascript" }));
  const ort = await import(url);
  URL.revokeObjectURL(url);
  ort.env.wasm.numThreads = 1;              // more would need headers that a plain file server does not send
  ort.env.wasm.wasmBinary = (await packed(wasm)).buffer;
  const session = await ort.InferenceSession.create(await packed(known[prior].onnx), { executionProviders: ["wasm"] });
  delete globalThis.mrilabRuntime;
  return async ({ re, im, height, width }, sigma) => {
    const h = Math.ceil(height / entry.multiple) * entry.multiple, w = Math.ceil(width / entry.multiple) * entry.multiple;
    const x = new Float32Array(2 * h * w);
    [re, im].forEach((part, c) => {
      for (let y = 0; y < height; y++) x.set(part.subarray(y * width, (y + 1) * width), (c * h + y) * w);
    });
    const { y: out } = await session.run({ x: new ort.Tensor("float32", x, [1, 2, h, w]),
      sigma: new ort.Tensor("float32", Float32Array.of(sigma), [1]) });
    const part = c => Float64Array.from({ length: height * width },
      (_, i) => out.data[(c * h + Math.floor(i / width)) * w + i % width]);
    return { re: part(0), im: part(1), height, width };
  };
}

function inKernel(model) {
  let id = 0;
  return ({ re, im, height, width }, sigma) => new Promise((resolve, reject) => {
    const own = ++id, timer = setTimeout(() => done(new Error("no answer: it needs a running kernel.")), 60000);
    const hear = (message, buffers) => {
      if (message.id !== own) return;
      if (message.error) return done(new Error(message.error));
      const { buffer, byteOffset, byteLength } = buffers[0];
      const y = Float64Array.from(new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength)));
      done(null, { re: y.subarray(0, height * width), im: y.subarray(height * width), height, width });
    };
    const done = (error, result) => {
      clearTimeout(timer);
      model.off("msg:custom", hear);
      if (error) reject(error); else resolve(result);
    };
    model.on("msg:custom", hear);
    const x = Float32Array.from([...re, ...im]);
    model.send({ id: own, sigma, shape: [height, width] }, undefined, [x.buffer]);
  });
}

export default { render: context => mount(context, runNetwork) };

// Two grey ramps in one table: measured k-space in the upper half, the rest dim and blue in the lower.
const twoRamps = Uint32Array.from({ length: 256 }, (_, v) => {
  if (v >= 128) return grey[limit(55 + 2 * (v - 128), 0, 255)];
  return (255 << 24 | (60 + 0.9 * v) << 16 | (16 + 0.5 * v) << 8 | 6 + 0.35 * v) >>> 0;
});

const LARGEST = 60e6;        // pixels of a picture

function measureKSpace({ root, model, meta, data, announce }) {
  const { shape: [height, width], spacing, axes, low, high, patterns, rates, goal } = meta;
  const count = height * width, take = reader(data), unit = (high - low) / 255;
  const stored = Float64Array.from(take(count), v => low + unit * v);
  const masks = patterns.map(() => rates.map(() => {
    const bits = take(Math.ceil(count / 8));
    return Uint8Array.from({ length: count }, (_, i) => bits[i >> 3] >> 7 - (i & 7) & 1);
  }));
  const noise = { re: normals(count, 1), im: normals(count, 2) };
  let kspace, brightness, goals, best;

  const state = { pattern: "Poisson disc", rate: rates.indexOf(4), size: [...spacing], sigma: 0, pen: 1, radius: 3, cursor: null };
  let mask = new Uint8Array(count).fill(1);

  const top = make("div", { class: "mri-row" });
  root.append(top);
  const named = ["all", "centre", ...patterns, "drawn"];
  const pattern = choice(top, "Measured", named.map(n => [n, n]), state.pattern, v => { state.pattern = v; pick(); });
  choice(top, "Pen (draw on k-space)", [["1", "measure"], ["0", "skip"]], "1", v => { state.pen = +v; });

  const grid = make("div", { class: "mri-panels" });
  const wide = width * spacing[1] > 1.5 * height * spacing[0];
  grid.style.setProperty("--columns", wide ? 2 : 4);
  grid.style.setProperty("--narrow", wide ? 1 : 2);
  const score = make("p", { class: "mri-score" });
  if (goal) grid.append(score);
  root.append(grid);

  let last = null;
  const kPanel = new Panel(grid, {
    label: "k-space with the mask",
    help: "Drag to draw with the pen. Arrow keys move the pen, the space bar draws.",
    point: (x, y) => { stroke(last ?? [x, y], [x, y]); last = [x, y]; },
    drop: () => { last = null; },
    key: event => {
      const by = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowRight: [1, 0], ArrowLeft: [-1, 0], " ": [0, 0] }[event.key];
      if (!by) return false;
      const [x, y] = state.cursor ?? [width >> 1, height >> 1], far = event.shiftKey ? 8 : 1;
      state.cursor = [limit(x + far * by[0], 0, width - 1), limit(y + far * by[1], 0, height - 1)];
      if (event.key === " ") stroke(state.cursor, state.cursor); else drawKSpace();
      return true;
    },
  });
  const imagePanel = new Panel(grid, { label: "image" });
  const spreadPanel = new Panel(grid, { label: "point spread function" });
  const errorPanel = new Panel(grid, { label: "error" });

  const controls = make("div", { class: "mri-controls" });
  root.append(controls);
  const rate = slider(controls, "Acceleration R", { min: 0, max: rates.length - 1, value: state.rate,
    format: i => `${rates[i]}` }, i => { state.rate = i; pick(); });
  const matrix = () => [height, width].map((n, a) => Math.max(1, Math.round(n * spacing[a] / state.size[a])));
  spacing.forEach((d, a) => slider(controls, `Voxel size, ${axes[a]}`, { min: d, max: 8 * d, step: d / 20, value: d,
    format: v => `${short(v)} mm` }, v => { state.size[a] = v; draw(); }));
  slider(controls, "Noise σ", { min: 0, max: 0.2, step: 0.01, value: 0, format: v => v.toFixed(2) }, v => { state.sigma = v; draw(); });
  slider(controls, "Pen radius", { min: 1, max: 12, value: 3, format: v => `${v}` }, v => { state.radius = v; });
  const actions = make("div", { class: "mri-row" });
  root.append(actions);
  const plain = (label, press) => {
    const element = button(actions, label, press);
    element.classList.add("mri-plain");
    return element;
  };
  plain("Measure nothing", () => { mask = new Uint8Array(count); become("drawn"); draw(); });
  const file = make("input", { type: "file", accept: "image/*", hidden: "", "aria-label": "your own picture" });
  file.addEventListener("change", () => { own(file.files[0]); file.value = ""; });
  plain("Your own picture", () => file.click());
  const back = plain("The slice again", () => { said.textContent = ""; back.hidden = true; show(stored); });
  back.hidden = true;
  const said = make("span", { class: "mri-note", role: "status" });
  actions.append(file, said);
  root.addEventListener("dragover", event => event.preventDefault());
  root.addEventListener("drop", event => { event.preventDefault(); own(event.dataTransfer.files[0]); });
  const facts = make("p", { class: "mri-facts" });
  root.append(facts);

  // a picture to measure; the goals are what the best of the ready patterns makes of it, and a first one below
  function show(image) {
    kspace = fft2c({ re: image, im: null, height, width });
    brightness = kspace.re.map((v, i) => limit((Math.log10(Math.hypot(v, kspace.im[i]) + 1e-9) + 2) / 4.5, 0, 1));
    full = null;
    best = -Infinity;
    if (goal) {
      const zeroFilled = kept => magnitude(fft2c({ ...kspace, re: kspace.re.map((v, i) => kept[i] * v), im: kspace.im.map((v, i) => kept[i] * v) }, true));
      const top = Math.max(...[centre(goal), ...masks.map(of => of[rates.indexOf(goal)])].map(kept => psnr(zeroFilled(kept), image)));
      goals = [Math.round(top - 2.5), Math.ceil(10 * top) / 10];
    }
    draw();
  }

  async function own(picked) {
    if (!picked) return;
    try {
      show((await greyPicture(picked, height, width, width * spacing[1] / (height * spacing[0]))).map(v => v * high));
      said.textContent = `This is ${picked.name}.`;
      back.hidden = false;
    } catch (error) {
      said.textContent = `${picked.name} ${error.message}.`;
    }
  }

  function become(name) {
    state.pattern = pattern.value = name;
    rate.enable(!["all", "drawn"].includes(name));
  }

  function pick() {
    const { pattern: name } = state, drawn = patterns.indexOf(name);
    become(name);
    if (name === "all") mask = new Uint8Array(count).fill(1);
    if (name === "centre") mask = centre(rates[state.rate]);
    if (drawn >= 0) mask = masks[drawn][state.rate].slice();
    draw();
  }

  function centre(R) {
    const [h, w] = [height, width].map(n => Math.round(n * Math.sqrt(1 / R)));
    const y0 = (height >> 1) - (h >> 1), x0 = (width >> 1) - (w >> 1);
    return Uint8Array.from({ length: count }, (_, i) => {
      const y = Math.floor(i / width) - y0, x = i % width - x0;
      return y >= 0 && y < h && x >= 0 && x < w;
    });
  }

  function stroke([x0, y0], [x1, y1]) {
    const steps = Math.max(1, Math.abs(x1 - x0), Math.abs(y1 - y0)), r = state.radius;
    for (let t = 0; t <= steps; t++) {
      const cx = Math.round(x0 + (x1 - x0) * t / steps), cy = Math.round(y0 + (y1 - y0) * t / steps);
      for (let y = Math.max(0, cy - r); y <= Math.min(height - 1, cy + r); y++) {
        for (let x = Math.max(0, cx - r); x <= Math.min(width - 1, cx + r); x++) {
          if ((x - cx) ** 2 + (y - cy) ** 2 < r * r) mask[y * width + x] = state.pen;
        }
      }
    }
    become("drawn");
    draw();
  }

  // what a scan at this voxel size measures: [top, left, height, width] of the crop
  function box() {
    const [h, w] = matrix();
    return [(height >> 1) - (h >> 1), (width >> 1) - (w >> 1), h, w];
  }

  function drawKSpace() {
    const [top, left, h, w] = box();
    const values = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      const y = Math.floor(i / width) - top, x = i % width - left;
      values[i] = 127 * brightness[i] + (mask[i] && y >= 0 && y < h && x >= 0 && x < w ? 128 : 0);
    }
    kPanel.draw({ values, height, width, spacing, low: 0, high: 255, colours: twoRamps }, {
      over: (context, screen, ratio) => {
        const [x0, y0] = screen(left, top + h), [x1, y1] = screen(left + w, top);
        context.lineWidth = 1.5 * ratio;
        context.strokeStyle = "#ffae70";
        if (h < height || w < width) context.strokeRect(x0, y0, x1 - x0, y1 - y0);
        if (!state.cursor) return;
        const [x, y] = screen(state.cursor[0] + 0.5, state.cursor[1] + 0.5);
        context.strokeStyle = "#5fd4f4";
        context.beginPath();
        context.arc(x, y, Math.max(3, state.radius * (x1 - x0) / w), 0, 7);
        context.stroke();
      },
    });
    kPanel.caption(`k-space: ${axes[0]} up, ${axes[1]} across`, "blue: not measured");
  }

  let full, truth;                  // everything measured, at the voxel size asked for
  const draw = perFrame(root, () => {
    const [h, w] = matrix(), gain = Math.sqrt(h * w / count);
    drawKSpace();
    if (full?.height !== h || full.width !== w) {
      full = crop(kspace, h, w);
      truth = magnitude(fft2c(full, true), gain);
    }
    const kept = crop({ re: Float64Array.from(mask), im: new Float64Array(0), height, width }, h, w).re;
    const drawn = crop({ ...noise, height, width }, h, w);
    const measured = {
      re: full.re.map((v, i) => kept[i] * (v + state.sigma * drawn.re[i])),
      im: full.im.map((v, i) => kept[i] * (v + state.sigma * drawn.im[i])), height: h, width: w,
    };
    const samples = kept.reduce((a, b) => a + b, 0), voxel = [height * spacing[0] / h, width * spacing[1] / w];
    const result = magnitude(fft2c(measured, true), gain);
    const spread = magnitude(fft2c({ re: kept, im: null, height: h, width: w }, true), Math.sqrt(h * w) / (samples || 1));
    const error = result.map((v, i) => 5 * Math.abs(v - truth[i]));
    const same = { height: h, width: w, spacing: voxel };
    imagePanel.draw({ values: result, ...same, low: 0, high }, { bar: 20 });
    imagePanel.caption("image", `voxels of ${sizes(voxel)}`);
    spreadPanel.draw({ values: spread, ...same, low: 0, high: 0.25 });
    spreadPanel.caption("point spread function", "peak 1, white from 0.25");
    errorPanel.draw({ values: error, ...same, low: 0, high });
    errorPanel.caption("error × 5", "against everything measured");
    const quality = psnr(result, truth);
    root.dataset.samples = samples;
    const told = samples === 0
      ? "Nothing is measured: the image is empty. Draw on k-space, or pick a pattern."
      : `${samples.toLocaleString("en")} of ${(h * w).toLocaleString("en")} positions measured, R = ${short(h * w / samples)}; `
        + `matrix ${h} × ${w}. ${quality > 99 ? "Nothing is missing." : `PSNR ${quality.toFixed(1)} dB against all of them without noise.`}`;
    facts.textContent = told;
    if (goal) score.textContent = judge(samples, quality);
    announce(`${told} ${score.textContent}`);
    send();
  });

  // the reader's own pattern against the goals; the best of them stays
  function judge(samples, quality) {
    const allowed = Math.floor(count / goal), whole = spacing.every((d, a) => state.size[a] === d);
    const counts = state.pattern === "drawn" && samples > 0 && samples <= allowed && state.sigma === 0 && whole;
    if (counts) best = Math.max(best, quality);
    const level = goals.filter(level => best >= level).length;
    const aim = level < 2 ? `Goal ${level + 1}: ${goals[level]} dB at R = ${goal}, drawn by hand. `
      : `Both goals reached: your pattern beats every ready one at R = ${goal}. `;
    const now = counts ? `Now ${quality.toFixed(1)} dB. `
      : state.pattern !== "drawn" ? "Draw on k-space to begin. "
      : samples > allowed ? `Skip ${(samples - allowed).toLocaleString("en")} positions more. `
      : samples ? "Only without noise, at the finest voxel size. " : "";
    return aim + now + (best > -Infinity ? `Best ${best.toFixed(1)} dB.` : "");
  }

  // a kernel, if there is one, gets the mask as `lab.mask`
  function send() {
    const [top, left, h, w] = box(), bits = new Uint8Array(Math.ceil(count / 8));
    for (let i = 0; i < count; i++) {
      const y = Math.floor(i / width) - top, x = i % width - left;
      if (mask[i] && y >= 0 && y < h && x >= 0 && x < w) bits[i >> 3] |= 128 >> (i & 7);
    }
    model.set("drawn", new DataView(bits.buffer));
    model.save_changes();
  }

  root.addEventListener("mri-theme", draw);
  show(stored);
  pick();
}

// A file as grey values from 0 to 1, cut to the shape of the slice, bottom row first; or an error that says what it is.
async function greyPicture(file, height, width, aspect) {
  const image = new Image(), url = URL.createObjectURL(file);
  try {
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = () => reject(new Error("is no picture that this browser can read"));
      image.src = url;
    });
    const { naturalWidth: w, naturalHeight: h } = image, across = Math.min(w, h * aspect);
    if (w * h > LARGEST) throw new Error(`has ${w} × ${h} pixels; ${LARGEST / 1e6} million are the most that fit`);
    const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, (w - across) / 2, (h - across / aspect) / 2, across, across / aspect, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    const values = Float64Array.from({ length: height * width }, (_, i) => {
      const o = 4 * ((height - 1 - Math.floor(i / width)) * width + i % width);
      return (0.299 * data[o] + 0.587 * data[o + 1] + 0.114 * data[o + 2]) / 255;
    });
    if (values.every(v => v === values[0])) throw new Error("is of one even grey: there is nothing to see");
    return values;
  } finally {
    URL.revokeObjectURL(url);
  }
}

export default { render: context => mount(context, measureKSpace) };

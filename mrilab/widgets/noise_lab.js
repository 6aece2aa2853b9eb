function compareDenoisers({ root, meta, data, announce }) {
  const { sizes: entries, sigmas, priors, low, high, noise, plane } = meta;
  const take = reader(data), unit = (high - low) / 255;
  const stored = entries.map(({ shape: [height, width] }) => {
    const n = height * width;
    return { clean: take(n), re: take(n, Int8Array), im: take(n, Int8Array), denoised: sigmas.map(() => priors.map(() => take(n))) };
  });
  const state = { size: 0, level: sigmas.length >> 1, error: false };

  const top = make("div", { class: "mri-row" });
  root.append(top);
  choice(top, "Voxel size", entries.map((e, i) => [String(i), e.label]), "0", v => { state.size = +v; draw(); });
  toggle(top, "error × 5", false, on => { state.error = on; draw(); });
  const panels = pictures(root, ["with noise", ...priors, "without noise"]);
  const controls = make("div", { class: "mri-controls" });
  root.append(controls);
  const level = slider(controls, "Noise level σ", { min: 0, max: sigmas.length - 1, value: state.level,
    format: i => String(sigmas[i]) }, go);
  const chart = new Chart(root, { label: "PSNR over the noise level", xLabel: "noise level σ", yLabel: "PSNR, dB", x: sigmas,
    curves: curves(), pick: i => { level.value = i; go(i); } });
  const facts = make("p", { class: "mri-facts" });
  root.append(facts);

  function go(i) { state.level = i; draw(); }

  function curves() {
    const { psnr: quality } = entries[state.size];
    return [...priors, "with noise"].map(name => ({ name, values: quality[name] }));
  }

  const draw = perFrame(root, () => {
    const { shape: [height, width], spacing, label, psnr: quality } = entries[state.size];
    const { clean, re, im, denoised } = stored[state.size], scale = sigmas[state.level] * noise;
    const truth = Float32Array.from(clean, v => low + unit * v);
    const seen = truth.map((v, i) => Math.hypot(v + scale * re[i], scale * im[i]));
    const images = [seen, ...denoised[state.level].map(values => Float32Array.from(values, v => low + unit * v)), truth];
    const numbers = ["with noise", ...priors].map(name => quality[name][state.level]);
    panels.forEach((panel, n) => {
      const error = state.error && n <= priors.length;
      const values = error ? images[n].map((v, i) => 5 * Math.abs(v - truth[i])) : images[n];
      panel.draw({ values, height, width, spacing, low: 0, high }, { bar: 20 });
      const name = ["with noise", ...priors, "without noise"][n];
      panel.caption(error ? `error, ${name}` : name, n <= priors.length ? `${numbers[n].toFixed(1)} dB` : label);
      panel.canvas.setAttribute("aria-label", `${plane} slice, ${name}, ${label}`);
    });
    chart.draw(state.level, curves());
    const told = `σ = ${sigmas[state.level]}, voxels of ${label}. PSNR: with noise ${numbers[0].toFixed(1)} dB, `
      + priors.map((name, n) => `${name} ${numbers[n + 1].toFixed(1)} dB`).join(", ") + ".";
    facts.textContent = `${told} The denoised pictures were computed when the page was made.`;
    announce(told);
  });
  root.addEventListener("mri-theme", draw);
  draw();
}

export default { render: context => mount(context, compareDenoisers) };

function playIterations({ root, meta, data, announce }) {
  const { names, steps, shape: [height, width], spacing, low, high, truth: hasTruth, quality } = meta;
  const take = reader(data), unit = (high - low) / 255;
  const frames = names.map(() => Array.from({ length: steps }, () => take(height * width)));
  const truth = hasTruth ? take(height * width) : null;
  const state = { step: 0, error: false, timer: null };
  const labels = hasTruth ? [...names, "truth"] : names;

  const top = make("div", { class: "mri-row" });
  root.append(top);
  const play = button(top, "▶ Play", () => (state.timer ? stop() : begin()));
  if (hasTruth) toggle(top, "error × 5", false, on => { state.error = on; draw(); });
  const panels = pictures(root, labels, Math.min(4, labels.length));
  const controls = make("div", { class: "mri-controls" });
  root.append(controls);
  const step = slider(controls, "Iteration", { min: 1, max: steps, value: 1, format: v => `${v} of ${steps}` },
    v => { stop(); go(v - 1); });
  step.input.parentElement.style.gridColumn = "1 / -1";
  const chart = new Chart(root, { label: "PSNR over the iterations", xLabel: "iteration", yLabel: "PSNR, dB",
    x: Array.from({ length: steps }, (_, i) => i + 1), curves: names.map(name => ({ name, values: quality[name] })),
    pick: i => { stop(); go(i); } });

  function begin() {
    if (state.step === steps - 1) go(0);
    play.textContent = "❚❚ Pause";
    state.timer = setInterval(() => {
      if (!root.isConnected || state.step === steps - 1) return stop();
      go(state.step + 1);
    }, 450);
  }

  function stop() {
    clearInterval(state.timer);
    state.timer = null;
    play.textContent = "▶ Play";
  }

  function go(i) {
    state.step = i;
    step.value = i + 1;
    draw();
  }

  const draw = perFrame(root, () => {
    const same = { height, width, spacing, low: (0 - low) / unit, high: (high - low) / unit };
    panels.forEach((panel, n) => {
      const reference = n === names.length, values = reference ? truth : frames[n][state.step];
      const error = state.error && !reference;
      panel.draw(error ? { ...same, low: 0, values: errorMap(values, truth, 5) }
        : { ...same, values }, { bar: 20 });
      panel.caption(error ? `error, ${labels[n]}` : labels[n],
        reference ? `voxels of ${sizes(spacing)}` : `${quality[names[n]][state.step].toFixed(1)} dB`);
      panel.canvas.setAttribute("aria-label", reference ? "truth" : `${names[n]} after iteration ${state.step + 1}`);
    });
    chart.draw(state.step);
    announce(`iteration ${state.step + 1}: ${names.map(n => `${n} ${quality[n][state.step].toFixed(1)} dB`).join(", ")}`);
  });
  root.addEventListener("mri-theme", draw);
  draw();
}

export default { render: context => mount(context, playIterations) };

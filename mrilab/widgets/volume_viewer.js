// The slice of plane `axis` through `at`: stored rows are z, z, y and columns x, y's neighbour axes in order.
function takeSlice(values, shape, axis, index) {
  const [, ny, nx] = shape, [rows, columns] = [0, 1, 2].filter(a => a !== axis);
  const strides = [ny * nx, nx, 1], height = shape[rows], width = shape[columns];
  const out = new Uint8Array(height * width);
  for (let r = 0, o = 0; r < height; r++) {
    let i = index * strides[axis] + r * strides[rows];
    for (let c = 0; c < width; c++, i += strides[columns]) out[o++] = values[i];
  }
  return { values: out, height, width };
}

const PLANES = ["axial", "coronal", "sagittal"];

function viewVolumes({ root, meta, data, announce }) {
  const { names, shape, voxel_size: size, low, high, truth, gain } = meta;
  const take = reader(data), voxels = shape[0] * shape[1] * shape[2];
  const volumes = names.map(() => take(voxels));
  const unit = (high - low) / 255, truthIndex = names.indexOf(truth);
  const state = { at: shape.map(n => n >> 1), view: "planes", volume: 0, error: false, level: high / 2, width: high, zoom: 1 };

  const top = make("div", { class: "mri-row" });
  root.append(top);
  const shown = names.length > 1 ? [["planes", "all three"], ...PLANES.map(p => [p, p])] : null;
  if (shown) choice(top, "Plane", shown, state.view, v => { state.view = v; arrange(); });
  const which = names.length > 1
    ? choice(top, "Volume", names.map((n, i) => [String(i), n]), "0", v => { state.volume = +v; draw(); }) : null;
  if (truthIndex >= 0 && names.length > 1) {
    toggle(top, `error × ${gain}`, false, on => { state.error = on; draw(); });
  }
  const grid = make("div", { class: "mri-panels" });
  root.append(grid);

  const help = "Drag to move the crosshair. Arrow keys move it by a voxel, Page Up and Page Down change the slice.";
  const count = Math.max(3, names.length);
  const panels = Array.from({ length: count }, (_, n) => new Panel(grid, {
    label: "slice", help,
    point: (x, y) => { move(n, x, y); },
    wheel: step => turn(n, step),
    key: event => {
      const [r, c] = plane(n).free, by = { ArrowUp: [r, 1], ArrowDown: [r, -1], ArrowRight: [c, 1], ArrowLeft: [c, -1],
        PageUp: [plane(n).axis, 1], PageDown: [plane(n).axis, -1] }[event.key];
      if (by) go(by[0], state.at[by[0]] + by[1]);
      return by;
    },
  }));

  const plane = n => {
    const axis = state.view === "planes" ? n : PLANES.indexOf(state.view);
    return { axis, free: [0, 1, 2].filter(a => a !== axis), volume: state.view === "planes" ? state.volume : n };
  };
  const go = (axis, value) => { state.at[axis] = limit(value, 0, shape[axis] - 1); draw(); };
  const turn = (n, step) => go(plane(n).axis, state.at[plane(n).axis] + step);
  const move = (n, x, y) => {
    const [r, c] = plane(n).free;
    state.at[r] = y;
    state.at[c] = x;
    draw();
  };

  const controls = make("div", { class: "mri-controls" });
  root.append(controls);
  const sliders = ["z (axial)", "y (coronal)", "x (sagittal)"].map((label, axis) => slider(controls, label,
    { min: 0, max: shape[axis] - 1, value: state.at[axis], format: v => `${v + 1} of ${shape[axis]}` }, v => go(axis, v)));
  const tone = { min: 0.02, max: high, step: 0.01, format: v => v.toFixed(2) };
  slider(controls, "Level", { ...tone, value: state.level }, v => { state.level = v; draw(); });
  slider(controls, "Window", { ...tone, max: 2 * high, value: state.width }, v => { state.width = v; draw(); });
  slider(controls, "Zoom", { min: 1, max: 6, step: 0.1, value: 1, format: v => `${v.toFixed(1)} ×` }, v => { state.zoom = v; draw(); });

  function arrange() {
    const used = state.view === "planes" ? 3 : names.length;
    panels.forEach((p, n) => { p.frame.hidden = n >= used; });
    const [z, y, x] = shape.map((n, axis) => n * size[axis]);
    grid.classList.toggle("mri-stacked", state.view === "planes" && z < 0.7 * y);
    grid.style.setProperty("--left", `${x}fr`);
    grid.style.setProperty("--right", `${y}fr`);
    grid.style.setProperty("--share", `${Math.min(100, 100 * x / y)}%`);
    grid.style.setProperty("--columns", Math.min(used, 4));
    grid.style.setProperty("--narrow", used > 1 ? 2 : 1);
    if (which) which.element.hidden = state.view !== "planes";
    draw();
  }

  const draw = perFrame(root, () => {
    const black = (state.level - state.width / 2 - low) / unit, white = (state.level + state.width / 2 - low) / unit;
    const index = (state.at[0] * shape[1] + state.at[1]) * shape[2] + state.at[2];
    panels.forEach((panel, n) => {
      if (panel.frame.hidden) return;
      const { axis, free, volume } = plane(n), error = state.error && volume !== truthIndex;
      const slice = takeSlice(volumes[volume], shape, axis, state.at[axis]);
      let range = { low: black, high: white }, value = low + unit * volumes[volume][index];
      if (error) {
        const right = takeSlice(volumes[truthIndex], shape, axis, state.at[axis]).values;
        slice.values = errorMap(slice.values, right, gain);
        range = { low: 0, high: white - black };
        value = unit * Math.abs(volumes[volume][index] - volumes[truthIndex][index]);
      }
      panel.draw({ ...slice, ...range, spacing: free.map(a => size[a]) },
        { cross: [state.at[free[1]], state.at[free[0]]], zoom: state.zoom, bar: 20 });
      panel.caption(state.view === "planes" ? `${PLANES[axis]} ${state.at[axis] + 1}` : names[volume],
        `${error ? "error" : "value"} ${value.toFixed(2)}`);
      panel.canvas.setAttribute("aria-label", `${names[volume]}, ${PLANES[axis]} slice ${state.at[axis] + 1}`);
    });
    sliders.forEach((s, axis) => { s.value = state.at[axis]; });
    facts.textContent = `Voxels of ${sizes(size)}, matrix ${shape.join(" × ")} (z, y, x). `
      + `Crosshair at ${state.at.map((v, a) => ((v - (shape[a] >> 1)) * size[a]).toFixed(0)).join(", ")} mm from the centre.`;
    const read = volumes.map((v, i) => `${names[i]} ${(low + unit * v[index]).toFixed(2)}`).join(", ");
    announce(`slice z ${state.at[0] + 1}, y ${state.at[1] + 1}, x ${state.at[2] + 1}: ${read}`);
  });

  const facts = make("p", { class: "mri-facts" });
  root.append(facts);
  root.addEventListener("mri-theme", draw);
  arrange();
}

export default { render: context => mount(context, viewVolumes) };

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

// The volume from outside, by a camera `turn` degrees from the front towards x and 25 degrees above: each ray stops at the
// first voxel of at least `skin`, lit from the camera's side (0 to 1), or where it leaves the corner that is cut away at
// `at`, whose sides keep their values (2 and more). Zero is air. Rays and their steps are `step` mm apart.
function seeSurface(values, shape, size, at, turn, step, skin) {
  const [nz, ny, nx] = shape, [dz, dy, dx] = size, plane = ny * nx;
  const [st, ct, sr, cr] = [Math.sin(turn * Math.PI / 180), Math.cos(turn * Math.PI / 180), Math.sin(25 * Math.PI / 180), Math.cos(25 * Math.PI / 180)];
  const camera = [cr * st, cr * ct, sr], right = [-ct, st, 0], up = [-sr * st, -sr * ct, cr];
  const [outX, outY] = outwards(shape, at), round = Math.hypot(nx * dx, ny * dy), deep = (round * cr + nz * dz * sr) / 2;
  const width = Math.ceil(round / step), height = Math.ceil((nz * dz * cr + round * sr) / step);
  const value = (x, y, z) => x < 0 || y < 0 || z < 0 || x >= nx || y >= ny || z >= nz ? 0 : values[z * plane + y * nx + x];
  const out = new Float32Array(height * width);
  const sides = [nx, ny, nz], per = [dx, dy, dz], back = camera.map((c, a) => c * step / per[a]);       // in voxels
  for (let row = 0, o = 0; row < height; row++) {
    for (let column = 0; column < width; column++, o++) {
      const u = (column + 0.5 - width / 2) * step, v = (row + 0.5 - height / 2) * step;
      const start = sides.map((n, a) => n / 2 + (u * right[a] + v * up[a] + deep * camera[a]) / per[a]);
      let first = 0, last = 2 * deep / step;            // the steps that lie inside the volume
      for (let a = 0; a < 3; a++) {
        const ends = [start[a] / back[a], (start[a] - sides[a]) / back[a]];
        if (back[a] || start[a] < 0 || start[a] >= sides[a]) first = Math.max(first, Math.min(...ends)), last = Math.min(last, Math.max(...ends));
      }
      let cut = true;                                   // the border of the volume is a cut, too
      for (let n = Math.ceil(first); n < last; n++) {
        const x = start[0] - n * back[0], y = start[1] - n * back[1], z = start[2] - n * back[2];
        const ix = x | 0, iy = y | 0, iz = z | 0;
        if (iz > at[0] && outY * (iy - at[1]) > 0 && outX * (ix - at[2]) > 0) { cut = true; continue; }
        const here = values[iz * plane + iy * nx + ix];
        if (cut && here > 0) { out[o] = 2 + here; break; }
        cut = false;
        if (!(here >= skin)) continue;
        let gx = 0, gy = 0, gz = 0;           // away from the head: towards what is air nearby
        for (let k = -2; k <= 2; k++) for (let j = -2; j <= 2; j++) for (let i = -2; i <= 2; i++) {
          if (value(ix + i, iy + j, iz + k) < skin) gx += i, gy += j, gz += k;
        }
        const lit = (gx * camera[0] + gy * camera[1] + gz * camera[2]) / (Math.hypot(gx, gy, gz) || 1);
        out[o] = 0.15 + 0.75 * Math.max(0, lit);
        break;
      }
    }
  }
  return { values: out, width, height, spacing: [step, step] };
}

// The side of the crosshair that is nearer to the outside, along x and y: there the corner is cut away.
const outwards = ([, ny, nx], at) => [at[2] < nx / 2 ? -1 : 1, at[1] < ny / 2 ? -1 : 1];

const PLANES = ["axial", "coronal", "sagittal"];

function viewVolumes({ root, meta, data, announce }) {
  const { names, shape, voxel_size: size, low, high, truth, gain } = meta;
  const take = reader(data), voxels = shape[0] * shape[1] * shape[2];
  const volumes = names.map(() => take(voxels));
  const unit = (high - low) / 255, truthIndex = names.indexOf(truth);
  const state = { at: [...meta.at], view: meta.view, volume: 0, error: false, level: high / 2, width: high, zoom: 1 };

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

  const outside = meta.surface ? viewSurface() : null;
  const controls = make("div", { class: "mri-controls" });
  root.append(controls);
  const sliders = ["z (axial)", "y (coronal)", "x (sagittal)"].map((label, axis) => slider(controls, label,
    { min: 0, max: shape[axis] - 1, value: state.at[axis], format: v => `${v + 1} of ${shape[axis]}` }, v => go(axis, v)));
  const tone = { min: 0.02, max: high, step: 0.01, format: v => v.toFixed(2) };
  slider(controls, "Level", { ...tone, value: state.level }, v => { state.level = v; draw(); });
  slider(controls, "Window", { ...tone, max: 2 * high, value: state.width }, v => { state.width = v; draw(); });
  slider(controls, "Zoom", { min: 1, max: 6, step: 0.1, value: 1, format: v => `${v.toFixed(1)} ×` }, v => { state.zoom = v; draw(); });

  // The rendering below the planes: coarse while it moves, fine once it rests.
  function viewSurface() {
    const row = make("div", { class: "mri-surface" });
    root.append(row);
    const [toX, toY] = outwards(shape, state.at);
    let turn = Math.round(Math.atan2(toX, toY) * 180 / Math.PI), from = 0, rest, spinning = false;
    const to = angle => { turn = angle - 360 * Math.round(angle / 360); angles.value = turn; show(); };
    const panel = new Panel(row, {
      label: "surface", help: "Drag sideways to turn the head, or use the left and right arrow keys.",
      point: (x, y, event) => {
        if (event.type !== "pointerdown") to(turn + (event.clientX - from) / 2);
        from = event.clientX;
      },
      key: event => {
        const by = { ArrowLeft: -5, ArrowRight: 5 }[event.key];
        if (by) to(turn + by);
        return by;
      },
    });
    panel.canvas.classList.replace("mri-pointed", "mri-across");
    const tools = make("div", { class: "mri-row" });
    row.append(tools);
    toggle(tools, "turn by itself", false, on => { spinning = on; requestAnimationFrame(spin); });
    const angles = slider(tools, "Turned by", { min: -180, max: 180, value: turn, format: v => `${v}°` }, v => to(v));
    const see = step => {
      const seen = seeSurface(volumes[state.volume], shape, size, state.at, turn, step, 13);
      const low = black(), high = white();
      seen.values.forEach((v, i) => { if (v >= 2) seen.values[i] = (v - 2 - low) / (high - low); });
      panel.draw({ ...seen, low: 0, high: 1, turn });
      panel.caption("from outside", "cut open above the crosshair");
    };
    const show = perFrame(root, () => {
      see(2 * Math.min(...size));
      clearTimeout(rest);
      if (!spinning) rest = setTimeout(() => see(Math.min(...size)), 200);
    });
    function spin() {
      if (!spinning || !root.isConnected) return show();
      to(turn + 2);
      setTimeout(() => requestAnimationFrame(spin), 40);
    }
    return show;
  }

  const black = () => (state.level - state.width / 2 - low) / unit, white = () => (state.level + state.width / 2 - low) / unit;

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
    outside?.();
    const index = (state.at[0] * shape[1] + state.at[1]) * shape[2] + state.at[2];
    panels.forEach((panel, n) => {
      if (panel.frame.hidden) return;
      const { axis, free, volume } = plane(n), error = state.error && volume !== truthIndex;
      const slice = takeSlice(volumes[volume], shape, axis, state.at[axis]);
      let range = { low: black(), high: white() }, value = low + unit * volumes[volume][index];
      if (error) {
        const right = takeSlice(volumes[truthIndex], shape, axis, state.at[axis]).values;
        slice.values = errorMap(slice.values, right, gain);
        range = { low: 0, high: white() - black() };
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

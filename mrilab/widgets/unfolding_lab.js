// SENSE by hand: on each folded pixel lie two voxels, and two coils see them. A complex number is [re, im] here.

const times = ([a, b], [c, d]) => [a * c - b * d, a * d + b * c];
const conjugate = ([a, b]) => [a, -b];
const sum = numbers => numbers.reduce(([a, b], [c, d]) => [a + c, b + d], [0, 0]);
const inner = (a, b) => sum(a.map((z, n) => times(conjugate(z), b[n])));
const turn = z => (Math.hypot(...z) ? z.map(v => v / Math.hypot(...z)) : [1, 0]);       // its phase alone
const at = ({ re, im }, i) => [re[i], im[i]];

// What a loop beside the head receives from each voxel of its plane, B_x - i B_y, as mrilab.coils.loop_field.
function loopMap({ shape: [height, width], spacing: [dy, dx], helmet: [hy, hx], radius }, degrees) {
  const sin = Math.sin(degrees * Math.PI / 180), cos = Math.cos(degrees * Math.PI / 180), length = Math.hypot(sin / hy, cos / hx);
  const ty = cos / hx / length, tx = -sin / hy / length;         // along the helmet, within the plane
  const [re, im] = [0, 1].map(() => new Float64Array(height * width));
  for (let k = 0; k < 48; k++) {
    const up = Math.cos(k * Math.PI / 24), along = Math.sin(k * Math.PI / 24), rz = -radius * up;
    for (let i = 0; i < re.length; i++) {
      const ry = (Math.floor(i / width) - (height >> 1)) * dy - hy * sin - radius * along * ty;
      const rx = (i % width - (width >> 1)) * dx - hx * cos - radius * along * tx;
      const square = rz * rz + ry * ry + rx * rx, cube = square * Math.sqrt(square);
      re[i] -= (along * ry + up * ty * rz) / cube;
      im[i] -= (along * rx + up * tx * rz) / cube;
    }
  }
  return { re, im };
}

// Zero outside of the head, and scaled as everywhere in the book: the squares of both maps sum to 1.
function scaled(maps, inside) {
  const factor = Float64Array.from(inside, (v, i) => v / Math.hypot(...maps.flatMap(map => at(map, i))));
  return maps.map(({ re, im }) => ({ re: re.map((v, i) => v * factor[i]), im: im.map((v, i) => v * factor[i]) }));
}

// The two voxels on pixel j; pictures of half the height have the head in the middle.
function voxelsOn(j, { shape: [height, width] }) {
  const half = height >> 1, p = (Math.floor(j / width) + (half >> 1)) % half * width + j % width;
  return [p, p + half * width];
}

function fold(map, image, meta, noise) {
  const part = Array.from(noise.re, (_, j) => sum([at(noise, j), ...voxelsOn(j, meta).map(i => times(at(map, i), at(image, i)))]));
  return { re: part.map(z => z[0]), im: part.map(z => z[1]) };
}

// Least squares for one pixel: the g-factor, and solve(y) for what the coils measured there.
function equations(maps, voxels) {
  const [p, q] = voxels.map(i => maps.map(map => at(map, i)));
  const P = inner(p, p)[0] || 1, Q = inner(q, q)[0] || 1, c = inner(p, q);         // air counts as known
  const det = P * Q - inner([c], [c])[0], known = det > 1e-9 * P * Q;
  const minor = z => z.map(v => -v / det);
  return {
    g: known ? Math.sqrt(P * Q / det) : Infinity,
    solve: y => {
      const a = inner(p, y), b = inner(q, y);
      return known ? [sum([a.map(v => Q * v / det), times(minor(c), b)]), sum([b.map(v => P * v / det), times(minor(conjugate(c)), a)])] : null;
    },
  };
}

// The image of all voxels, and the g-factor of each, 0 outside of the head; where the equations have no answer, both say so.
function unfold(maps, measured, inside, meta) {
  const [re, im, g] = [0, 1, 2].map(() => new Float64Array(inside.length));
  for (let j = 0; j < inside.length / 2; j++) {
    const voxels = voxelsOn(j, meta), pixel = equations(maps, voxels), v = pixel.solve(measured.map(coil => at(coil, j)));
    voxels.forEach((i, n) => {
      [re[i], im[i]] = v ? v[n] : [NaN, NaN];
      g[i] = inside[i] * pixel.g || 0;
    });
  }
  return { re, im, g };
}

// From dark violet over green to yellow, and black below.
const anchors = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const ramp = Uint32Array.from({ length: 256 }, (_, v) => {
  const at = v / 255 * 3.999, n = Math.floor(at);
  const [r, g, b] = anchors[n].map((low, c) => Math.round(low + (at - n) * (anchors[n + 1][c] - low)));
  return v ? (255 << 24 | b << 16 | g << 8 | r) >>> 0 : 0xff000000;
});

function unfoldByHand({ root, meta, data, announce }) {
  const { shape: [height, width], spacing, high, sigma } = meta, count = height * width, half = height >> 1;
  const take = reader(data), [re, im] = [0, 1].map(() => Float64Array.from(take(count, Int8Array), v => v * high / 127));
  const random = normals(800, 5), image = { re, im }, inside = take(count);
  const noises = [1, 3].map(seed => ({ re: normals(count / 2, seed).map(v => sigma * v), im: normals(count / 2, seed + 1).map(v => sigma * v) }));
  const others = Array.from({ length: 200 }, (_, k) => [0, 2].map(n => [0, 1].map(part => sigma * random[4 * k + n + part])));
  const first = loopMap(meta, 90);
  const state = { degrees: 180, x: Math.round(0.6 * width), y: Math.round(0.93 * half) };
  let maps, measured, result;

  const grid = make("div", { class: "mri-panels mri-unfolding" }), left = make("div", { class: "mri-stack" });
  grid.append(left);
  root.append(grid);
  const choose = (x, y) => { Object.assign(state, { x: limit(x, 0, width - 1), y: limit(y, 0, half - 1) }); draw(); };
  const help = "Drag or use the arrow keys to choose a folded pixel.";
  const pick = {
    help, point: choose,
    key: event => {
      const by = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowRight: [1, 0], ArrowLeft: [-1, 0] }[event.key];
      if (by) choose(state.x + by[0], state.y + by[1]);
      return by;
    },
  };
  const folded = ["A", "B"].map(name => new Panel(left, { label: `folded slice as coil ${name} sees it`, ...pick }));
  const plane = new Panel(grid, { label: "the two equations as lines" });
  const unfolded = new Panel(grid, { label: "unfolded slice", ...pick, point: (x, y) => choose(x, (y % half - (half >> 1) + half) % half) });
  const gMap = new Panel(grid, { label: "g-factor" });
  const controls = make("div", { class: "mri-controls" });
  root.append(controls);
  slider(controls, "Coil B, around the head from coil A", { min: 0, max: 180, step: 5, value: 180, format: v => `${v}°` },
    v => { state.degrees = v; move(); }).input.parentElement.style.gridColumn = "1 / -1";
  const facts = make("p", { class: "mri-facts" });
  root.append(facts);

  function move() {
    maps = scaled([first, state.degrees ? loopMap(meta, 90 + state.degrees) : first], inside);
    measured = maps.map((map, n) => fold(map, image, meta, noises[n]));
    result = unfold(maps, measured, inside, meta);
    draw();
  }

  const draw = perFrame(root, () => {
    const j = state.y * width + state.x, voxels = voxelsOn(j, meta), solver = equations(maps, voxels);
    const y = measured.map(coil => at(coil, j)), truth = voxels.map(i => at(image, i)), v = solver.solve(y);
    const marks = (places, ...names) => (context, screen, ratio) => {
      places.forEach(([x, y], n) => mark(context, screen(x + 0.5, y + 0.5), ["#5fd4f4", "#ffae70"][n], ratio));
      names.forEach((name, n) => letter(context, name, screen, 90 + n * state.degrees, ratio));
    };
    const here = voxels.map(i => [i % width, Math.floor(i / width)]);
    folded.forEach((panel, n) => {
      panel.draw({ values: magnitudes(measured[n]), height: half, width, spacing, low: 0, high }, { cross: [state.x, state.y] });
      panel.caption(`coil ${"AB"[n]}, folded`, `y = ${complex(y[n])}`);
    });
    unfolded.draw({ values: magnitudes(result), height, width, spacing, low: 0, high }, { over: marks(here, ...(state.degrees ? ["A", "B"] : ["A = B"])) });
    unfolded.caption("unfolded", solver.g < Infinity ? "v₁ below, v₂ above" : "black: no answer");
    gMap.draw({ values: result.g, height, width, spacing, low: 0.98, high: 4, colours: ramp }, { over: marks(here) });
    const gs = result.g.filter(Boolean);
    gMap.caption("g-factor, 1 to 4", `mean ${amount(gs.reduce((a, b) => a + b, 0) / gs.length)}`);
    plane.draw({ values: [0], height: 1, width: 1, spacing: [1, 1], low: 0, high: 1 }, { over: drawEquations(voxels, truth, solver, v) });
    plane.caption("the two equations", "A solid, B dashed; dots: other noise");
    const told = conclusion(voxels.filter(i => inside[i]).length, truth, solver, v);
    facts.replaceChildren(...y.map((value, n) => line(`Coil ${"AB"[n]}: ${voxels.map((i, k) => `(${complex(at(maps[n], i))}) v${"₁₂"[k]}`).join(" + ")} = ${complex(value)}`)), line(told));
    announce(told);
  });

  function conclusion(count, truth, { g }, v) {
    if (count === 0) return "Both voxels are air: there is nothing to find.";
    if (count === 1) return "One of the two voxels is air, which counts as known: nothing is to be told apart, g = 1.";
    if (!v) return "Both coils say the same: any two voxels on the line fit, and no single answer follows. g is infinite.";
    return `Solution: ${v.map((z, k) => `|v${"₁₂"[k]}| = ${Math.hypot(...z).toFixed(2)} (true ${Math.hypot(...truth[k]).toFixed(2)})`).join(", ")}. `
      + `g = ${amount(g)}: the noise is ${amount(g)} times that of a voxel alone.`;
  }

  // the parts of v₁ and v₂ in phase with the truth: what each coil allows is a line, what other noise gives is a cloud
  function drawEquations(voxels, truth, { solve }, v) {
    const phases = truth.map(turn), inPhase = z => z.map((value, k) => inner([phases[k]], [value])[0]);
    const right = inPhase(truth), found = v ? inPhase(v) : right;
    const terms = maps.map(map => voxels.map((i, k) => times(at(map, i), truth[k])));
    const cloud = v ? others.map(noise => inPhase(solve(terms.map((pair, n) => sum([...pair, noise[n]]))))) : [];
    const lines = maps.map((map, n) => {
      const [a, b] = voxels.map((i, k) => inner([turn(sum(terms[n]))], [times(at(map, i), phases[k])])[0]), length = Math.hypot(a, b) || 1;
      return [-5, 5].map(t => [found[0] - t * b / length, found[1] + t * a / length]);
    });
    return (context, _, ratio) => {
      const size = context.canvas.width, style = getComputedStyle(root), colour = name => style.getPropertyValue(name);
      const place = ([a, b]) => [(a + 0.3) / 1.8 * size, (1.5 - b) / 1.8 * size];
      const draw = (points, name, width, dash = []) => {
        context.strokeStyle = colour(name);
        context.lineWidth = width * ratio;
        context.setLineDash(dash.map(d => d * ratio));
        context.beginPath();
        for (const point of points) context.lineTo(...place(point));
        context.stroke();
      };
      const write = (text, name, point) => {
        context.fillStyle = colour(name);
        context.fillText(text, ...place(point));
      };
      const dots = (points, name, radius) => {
        context.fillStyle = colour(name);
        for (const point of points) {
          context.beginPath();
          context.arc(...place(point), radius * ratio, 0, 7);
          context.fill();
        }
      };
      context.fillStyle = colour("--mri-field");
      context.fillRect(0, 0, size, size);
      context.font = `${12 * ratio}px system-ui, sans-serif`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      draw([[-1, 0], [2, 0]], "--mri-line-1", 1.5);
      draw([[0, -1], [0, 2]], "--mri-line-2", 1.5);
      for (const [text, point] of [["v₁", [1.4, -0.1]], ["1", [1, -0.1]]]) write(text, "--mri-line-1", point);
      for (const [text, point] of [["v₂", [-0.1, 1.4]], ["1", [-0.1, 1]]]) write(text, "--mri-line-2", point);
      dots(cloud, "--mri-edge", 1.2);
      lines.forEach((points, n) => draw(points, `--mri-line-${n + 3}`, 2, n ? [7, 4] : []));
      dots([right], "--mri-text", 6);
      dots([right], "--mri-field", 4);
      if (v) dots([found], "--mri-text", 3);
    };
  }

  function mark(context, [x, y], colour, ratio) {
    for (const [stroke, line] of [["rgb(0 0 0 / 60%)", 4], [colour, 2]]) {
      context.strokeStyle = stroke;
      context.lineWidth = line * ratio;
      context.beginPath();
      context.arc(x, y, 5 * ratio, 0, 7);
      context.stroke();
    }
  }

  // where a coil lies, at the edge of the picture
  function letter(context, name, screen, degrees, ratio) {
    const angle = degrees * Math.PI / 180;
    context.fillStyle = "white";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.font = `bold ${12 * ratio}px system-ui, sans-serif`;
    context.fillText(name, ...screen(width * (0.5 + 0.45 * Math.cos(angle)), height * (0.5 + 0.46 * Math.sin(angle))));
  }

  root.addEventListener("mri-theme", draw);
  move();
}

const magnitudes = ({ re, im }) => Float64Array.from(re, (v, i) => Math.hypot(v, im[i]));
const complex = ([a, b]) => `${signed(a, "")}${Math.abs(a).toFixed(2)} ${signed(b, "+")} ${Math.abs(b).toFixed(2)}i`;
const signed = (v, plus) => (v.toFixed(2) < 0 ? "−" : plus);
const amount = v => (v < Infinity ? v.toFixed(2) : "infinite");
const line = text => make("span", { class: "mri-line" }, text);

export default { render: context => mount(context, unfoldByHand) };

// A plane of points whose density, score and denoiser are formulas: a mixture of Gaussians with noise of any level.

// The probability r of each component given x, the score, and D(x; sigma), as mrilab.mixture.GaussianMixture.
function scoreAt([x, y], sigma, { means, weights, std }) {
  const v = std ** 2 + sigma ** 2;
  const logs = means.map(([a, b], k) => Math.log(weights[k]) - ((x - a) ** 2 + (y - b) ** 2) / (2 * v)), top = Math.max(...logs);
  const parts = logs.map(l => Math.exp(l - top)), total = parts.reduce((a, b) => a + b), r = parts.map(p => p / total);
  const score = [x, y].map((value, axis) => (r.reduce((sum, p, k) => sum + p * means[k][axis], 0) - value) / v);
  return { r, score, denoised: [x + sigma ** 2 * score[0], y + sigma ** 2 * score[1]] };
}

// Root of the density of noisy points over its largest value in a square of half the given width, bottom row first.
function rootDensity(sigma, half, number, { means, weights, std }) {
  const v = std ** 2 + sigma ** 2, values = new Float64Array(number ** 2);
  means.forEach(([a, b], k) => {
    const [across, up] = [a, b].map(m => Float64Array.from({ length: number }, (_, i) => Math.exp(-((((2 * i + 1) / number - 1) * half - m) ** 2) / (2 * v))));
    for (let i = 0; i < values.length; i++) values[i] += weights[k] * across[i % number] * up[Math.floor(i / number)];
  });
  const top = values.reduce((a, b) => Math.max(a, b), 1e-300);
  return values.map(p => Math.sqrt(p / top));
}

// dx/dsigma = -sigma score from the given level to 0, by Heun's method: the levels, and all points at each of them.
function flow(points, sigma, meta) {
  const { range: [lowest], steps } = meta, root = s => s ** (1 / 7), levels = [];
  for (let n = 0; n < steps; n++) levels.push((root(sigma) + n / (steps - 1) * (root(lowest) - root(sigma))) ** 7);
  const slope = (point, s) => scoreAt(point, s, meta).score.map(value => -s * value);
  const path = [{ sigma, points }];
  [...levels.slice(1), 0].forEach((then, n) => {
    const now = levels[n], along = (point, by) => point.map((value, axis) => value + (then - now) * by[axis]);
    path.push({
      sigma: then,
      points: path.at(-1).points.map(point => {
        const first = slope(point, now), ahead = along(point, first);
        if (!then) return ahead;
        const second = slope(ahead, then);
        return along(point, first.map((value, axis) => (value + second[axis]) / 2));
      }),
    });
  });
  return path;
}

const digits = sigma => String(+sigma.toPrecision(2));
const pair = point => `(${point.map(v => v.toFixed(2).replace("-", "−").replace(/^−(?=0\.00$)/, "")).join(", ")})`;
const nearest = ([x, y], means) => means.reduce((best, [a, b], k) => (Math.hypot(x - a, y - b) < Math.hypot(x - means[best][0], y - means[best][1]) ? k : best), 0);

function dragInField({ root, meta, data, announce }) {
  const { means, weights, std, reach, range: [lowest, highest] } = meta, positions = 81, number = 240;
  const noise = new Float32Array(data.buffer), many = Array.from({ length: noise.length / 2 }, (_, i) => [highest * noise[2 * i], highest * noise[2 * i + 1]]);
  const levelAt = i => (i ? lowest * (highest / lowest) ** ((i - 1) / (positions - 2)) : 0);
  const positionOf = sigma => (sigma < lowest ? 0 : Math.round(1 + (positions - 2) * Math.log(sigma / lowest) / Math.log(highest / lowest)));
  const halfOf = sigma => Math.hypot(reach, 2.5 * sigma);                 // the picture grows with the cloud of noisy points
  const state = { x: meta.x, sigma: levelAt(positionOf(meta.sigma)), path: null, step: 0, timer: null };

  const grid = make("div", { class: "mri-panels mri-scored" });
  root.append(grid);
  const panel = new Panel(grid, {
    label: "plane of points: density, score, x and its denoised D", help: "Drag or use the arrow keys to move x; with Shift it goes further.",
    point: (_, __, event) => {
      const box = panel.canvas.getBoundingClientRect(), half = halfOf(state.sigma);
      choose({ x: [(2 * (event.clientX - box.left) / box.width - 1) * half, (1 - 2 * (event.clientY - box.top) / box.height) * half] });
    },
    key: event => {
      const by = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowRight: [1, 0], ArrowLeft: [-1, 0] }[event.key], far = halfOf(state.sigma) / (event.shiftKey ? 10 : 50);
      if (by) choose({ x: state.x.map((value, axis) => value + far * by[axis]) });
      return by;
    },
  });
  const controls = make("div", { class: "mri-controls" }), row = make("div", { class: "mri-row" }), facts = make("p", { class: "mri-facts" });
  grid.append(controls);
  const level = slider(controls, "Noise level σ", { min: 0, max: positions - 1, value: 0, format: i => digits(levelAt(i)) }, i => choose({ sigma: levelAt(i) }));
  button(row, "▶ Let it flow", () => begin([state.x], state.sigma));
  button(row, `${many.length} from noise`, () => begin(many, highest)).classList.add("mri-plain");
  controls.append(row, facts);

  // where the reader puts x, and the noise level; what flowed goes
  function choose(chosen) {
    clearInterval(state.timer);
    Object.assign(state, { path: null }, chosen);
    const edge = 0.97 * halfOf(state.sigma);
    state.x = state.x.map(value => limit(value, -edge, edge));
    draw();
  }

  function begin(points, sigma) {
    clearInterval(state.timer);
    const path = flow(points, sigma, meta), last = path.length - 1, start = performance.now();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const go = () => {
      state.step = still ? last : Math.min(last, Math.floor((performance.now() - start) / 35));
      if (!root.isConnected || state.step === last) clearInterval(state.timer);
      draw();
    };
    state.path = path;
    state.timer = setInterval(go, 35);
    go();
  }

  const draw = perFrame(root, () => {
    const { path, step } = state, { sigma, points } = path ? path[step] : { sigma: state.sigma, points: [state.x] };
    const [x] = points, seen = scoreAt(x, sigma, meta), half = halfOf(sigma), lone = points.length === 1;
    const counts = means.map((_, k) => points.filter(point => nearest(point, means) === k).length);
    const shares = lone ? seen.r.map(r => `${Math.round(100 * r)} %`) : counts.map(String);
    level.value = positionOf(sigma);
    panel.canvas.lab = { x, sigma, ...seen, ends: path?.at(-1).points };            // what the browser tests compare with Python
    panel.draw({ values: rootDensity(sigma, half, number, meta), height: number, width: number, spacing: [1, 1], low: 0, high: 1, colours: shades() },
      { over: (context, _, ratio) => paint(context, ratio, { ...seen, points, sigma, half, lone, shares }) });
    panel.caption("density of noisy points", "arrows: the score, long ones cut off");
    const told = conclusion(lone, seen, counts);
    facts.replaceChildren(...(lone ? [`x = ${pair(x)}`, `D(x; σ) = ${pair(seen.denoised)}`, `score = ${sigma ? "(D − x) / σ² = " : ""}${pair(seen.score)}`] : []).map(line), line(told));
    announce(told);
  });

  function conclusion(lone, { r }, counts) {
    const { path, step } = state;
    if (path && step < path.length - 1) return `${lone ? "x flows" : "They flow"} while σ falls to 0.`;
    if (path && lone) return `From ${pair(state.x)} at σ = ${digits(path[0].sigma)} the flow ends at ${pair(path.at(-1).points[0])}. Where it began, D was ${pair(scoreAt(state.x, path[0].sigma, meta).denoised)}.`;
    if (path) return `How many have ended nearest to each mean: ${counts.join(", ")}. By the weights one expects ${weights.map(w => Math.round(w * many.length)).join(", ")}.`;
    if (!state.sigma) return "Without noise there is nothing to remove: D(x; 0) = x.";
    return `At each mean stands how probable it is that x came from there. ${Math.max(...r) > 0.95 ? "One explains x: D lies on the way to it." : "Several explain x: D lies between them."}`;
  }

  // from the ground of the figure to a soft grey, for an index from 0 to 255
  function shades() {
    const style = getComputedStyle(root), [low, high] = ["--mri-ground", "--mri-edge"].map(name => Number.parseInt(style.getPropertyValue(name).trim().slice(1), 16));
    const part = (v, shift) => Math.round((low >> shift & 255) + 0.75 * v / 255 * ((high >> shift & 255) - (low >> shift & 255)));
    return Uint32Array.from({ length: 256 }, (_, v) => (255 << 24 | part(v, 0) << 16 | part(v, 8) << 8 | part(v, 16)) >>> 0);
  }

  function paint(context, ratio, { points, sigma, half, lone, shares, denoised }) {
    const size = context.canvas.width, style = getComputedStyle(root), place = ([x, y]) => [(x / half + 1) / 2 * size, (1 - y / half) / 2 * size];
    const trace = (places, name, width) => {
      context.strokeStyle = style.getPropertyValue(name);
      context.lineWidth = width * ratio;
      context.beginPath();
      for (const point of places) context.lineTo(...point);
      context.stroke();
    };
    const arrow = ([x, y], [a, b], name, width) => {
      const length = Math.hypot(a - x, b - y), head = Math.min(length / 2, 3.5 * width * ratio), [u, v] = [(a - x) / length, (b - y) / length];
      if (length < ratio) return;
      trace([[x, y], [a, b]], name, width);
      trace([1, 0, -1].map(side => [a - Math.abs(side) * head * (u + 0.6 * side * v), b - Math.abs(side) * head * (v - 0.6 * side * u)]), name, width);
    };
    const dot = (point, name, radius) => {
      context.fillStyle = style.getPropertyValue(name);
      context.beginPath();
      context.arc(...place(point), radius * ratio, 0, 7);
      context.fill();
    };
    const write = (text, [x, y], name = "--mri-text", font = "12px", boxed = false) => {
      context.font = font.replace(/\d+/, n => n * ratio) + " system-ui, sans-serif";
      if (boxed) {                                                          // no arrow crosses it
        const wide = context.measureText(text).width + 6 * ratio;
        context.fillStyle = style.getPropertyValue("--mri-ground");
        context.fillRect(x - wide / 2, y - 8 * ratio, wide, 16 * ratio);
      }
      context.lineWidth = 3 * ratio;
      context.strokeStyle = style.getPropertyValue("--mri-ground");
      context.fillStyle = style.getPropertyValue(name);
      context.strokeText(text, x, y);
      context.fillText(text, x, y);
    };
    const cell = 2 * half / 13, width = Math.sqrt(std ** 2 + sigma ** 2);
    for (let i = 0; i < 169; i++) {
      const from = [i % 13, Math.floor(i / 13)].map(n => (n + 0.5) * cell - half), { score } = scoreAt(from, sigma, meta), long = Math.hypot(...score);
      const by = 0.42 * cell * Math.min(1, width * long / 2) / (long || 1);
      arrow(...[-1, 1].map(side => place(from.map((value, axis) => value + side * by * score[axis]))), "--mri-soft", 1.2);
    }
    context.lineJoin = context.lineCap = "round";
    context.textBaseline = "middle";
    context.textAlign = "center";
    for (const step of niceSteps(-half, half, 4)) {
      if (Math.abs(step) > 0.85 * half) continue;
      const [along] = place([step, 0]), [, up] = place([0, step]);
      write(short(step).replace("-", "−"), [along, size - 9 * ratio], "--mri-soft", "11px", true);
      if (step) write(short(step).replace("-", "−"), [14 * ratio, up], "--mri-soft", "11px", true);
    }
    if (state.path) points.forEach((_, n) => trace(state.path.slice(0, state.step + 1).map(passed => place(passed.points[n])), "--mri-line-1", lone ? 2 : 0.5));
    means.forEach((mean, k) => {
      const [x, y] = place(mean), arm = 5 * ratio;
      trace([[x - arm, y], [x + arm, y]], "--mri-text", 2);
      trace([[x, y - arm], [x, y + arm]], "--mri-text", 2);
    });
    for (const point of points) dot(point, "--mri-line-1", lone ? 7 : 2.5);
    if (state.path && lone) dot(state.x, "--mri-line-1", 3.5);
    means.map(place).forEach(([x, y], k) => { if (shares[k] !== "0 %") write(shares[k], [x, y + (lone ? 14 : 20) * ratio], "--mri-text", "600 12px"); });
    if (!lone) return;
    const [from, to] = [points[0], denoised].map(place);
    arrow(from, to, "--mri-line-2", 2.5);
    write("x", [from[0] - 14 * ratio, from[1] - 8 * ratio], "--mri-line-1", "bold 15px");
    if (Math.hypot(to[0] - from[0], to[1] - from[1]) > 20 * ratio) write("D", [to[0] + 14 * ratio, to[1] - 6 * ratio], "--mri-line-2", "bold 15px");
  }

  root.addEventListener("mri-theme", draw);
  draw();
}

const line = text => make("span", { class: "mri-line" }, text);

export default { render: context => mount(context, dragInField) };

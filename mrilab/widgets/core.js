// The part all widgets share. base.py puts it in front of each widget's own script: one module, no import.
// Images are stored bottom row first, as everywhere in the book, and drawn in mm.

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Builds a widget in el; what goes wrong is said there in words, and the still picture below it stays.
async function mount({ model, el }, build) {
  const root = make("div", { class: "mri", role: "group", "aria-label": model.get("title") });
  el.append(root);
  const stills = () => el.closest(".cell_output")?.querySelectorAll(".mri-still") ?? [];
  try {
    followTheme(root);
    const widget = { root, model, meta: model.get("meta"), data: await unpack(model.get("data")) };
    widget.announce = announcer(root);
    widget.fail = error => complain(root, error);
    await build(widget);
    for (const still of stills()) still.hidden = true;
  } catch (error) {
    complain(root, error);
  }
}

function complain(root, error) {
  root.querySelector(".mri-error")?.remove();
  root.append(make("p", { class: "mri-error", role: "alert" }, `This figure is not interactive here. ${error.message}`));
}

async function unpack(view) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("The browser cannot unpack its data: it has no DecompressionStream. A newer one can.");
  }
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Takes arrays of the given lengths from the unpacked data, one after the other.
function reader(data) {
  let at = 0;
  return (length, Type = Uint8Array) => {
    if (at + length > data.length) throw new Error(`Its data end early: found ${data.length} bytes, expected more.`);
    return new Type(data.buffer, at, (at += length) && length);
  };
}

// The page, JupyterLab and Colab each say dark in their own way; otherwise the system decides.
function isDark() {
  const { theme } = document.documentElement.dataset;
  if (theme) return theme === "dark";
  const lab = document.body.dataset.jpThemeLight;
  if (lab) return lab === "false";
  const colab = document.documentElement.getAttribute("theme");
  return colab ? colab === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function followTheme(root) {
  const apply = () => {
    if (root.dataset.theme === (isDark() ? "dark" : "light")) return;
    root.dataset.theme = isDark() ? "dark" : "light";
    root.dispatchEvent(new Event("mri-theme"));
  };
  const observer = new MutationObserver(apply);
  for (const node of [document.documentElement, document.body]) observer.observe(node, { attributes: true });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  apply();
}

// Says values to a screen reader once they have come to rest.
function announcer(root) {
  const region = make("div", { class: "mri-spoken", role: "status", "aria-live": "polite" });
  root.append(region);
  let timer;
  return text => {
    clearTimeout(timer);
    timer = setTimeout(() => { region.textContent = text; }, 400);
  };
}

let created = 0;

function slider(parent, label, { min, max, step = 1, value, format = String }, change) {
  const id = `mri-${created++}-${Math.random().toString(36).slice(2, 8)}`;
  const input = make("input", { type: "range", id, min, max, step });
  const shown = make("span", { class: "mri-value", "aria-hidden": "true" });
  parent.append(make("div", { class: "mri-slider" }, make("label", { for: id }, label), shown, input));
  const show = () => {
    shown.textContent = format(+input.value);
    input.setAttribute("aria-valuetext", format(+input.value));
    const share = (input.value - input.min) / (input.max - input.min || 1);
    input.style.setProperty("--share", `${100 * share}%`);
  };
  input.value = value;
  input.addEventListener("input", () => { show(); change(+input.value); });
  show();
  return {
    input,
    get value() { return +input.value; },
    set value(v) { input.value = v; show(); },
    enable(on) { input.disabled = !on; input.parentElement.classList.toggle("mri-off", !on); },
  };
}

// One of several: radio buttons that look like one divided button.
function choice(parent, legend, options, value, change) {
  const name = `mri-${created++}-${Math.random().toString(36).slice(2, 8)}`;
  const row = make("div", { class: "mri-segments" });
  const inputs = options.map(([key, text]) => {
    const input = make("input", { type: "radio", name, value: key });
    input.checked = key === value;
    input.addEventListener("change", () => change(key));
    row.append(make("label", {}, input, make("span", {}, text)));
    return input;
  });
  const set = make("fieldset", { class: "mri-choice" }, make("legend", {}, legend), row);
  parent.append(set);
  return {
    element: set,
    set value(v) { for (const input of inputs) input.checked = input.value === v; },
  };
}

function toggle(parent, label, checked, change) {
  const input = make("input", { type: "checkbox" });
  input.checked = checked;
  input.addEventListener("change", () => change(input.checked));
  parent.append(make("label", { class: "mri-toggle" }, input, make("span", {}, label)));
  return input;
}

function button(parent, label, press) {
  const element = make("button", { type: "button", class: "mri-button" }, label);
  element.addEventListener("click", press);
  parent.append(element);
  return element;
}

// Calls at(event) as long as a button, a finger or a pen is held down on the canvas, then end(event).
function onDrag(canvas, at, end) {
  canvas.addEventListener("pointerdown", event => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    at(event);
  });
  canvas.addEventListener("pointermove", event => { if (canvas.hasPointerCapture(event.pointerId)) at(event); });
  if (end) for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, end);
}

const grey = Uint32Array.from({ length: 256 }, (_, v) => (255 << 24 | v << 16 | v << 8 | v) >>> 0);

// A picture of one slice: { values, width, height, spacing: [dy, dx] in mm, low, high }, low black and high white.
// point(x, y, event) gets voxel positions; key(event) what the arrow keys and others send. Without them it is only seen.
class Panel {
  constructor(parent, { label, help, point, drop, wheel, key }) {
    this.canvas = make("canvas", { "aria-label": label, ...(point || key ? { role: "application", tabindex: 0 } : { role: "img" }) });
    if (help) this.canvas.setAttribute("aria-description", help);
    this.title = make("span", { class: "mri-title" });
    this.note = make("span", { class: "mri-note" });
    this.frame = make("figure", { class: "mri-panel" }, this.canvas, make("figcaption", {}, this.title, this.note));
    parent.append(this.frame);
    this.raster = document.createElement("canvas");
    this.view = {};
    new ResizeObserver(() => this.paint()).observe(this.frame);
    const at = event => {
      const box = this.canvas.getBoundingClientRect(), { width, height } = this.image, [x0, y0, w, h] = this.window();
      const x = x0 + (event.clientX - box.left) / box.width * w;
      const y = y0 + (event.clientY - box.top) / box.height * h;
      point(limit(Math.floor(x), 0, width - 1), limit(height - 1 - Math.floor(y), 0, height - 1), event);
    };
    if (point) {
      this.canvas.classList.add("mri-pointed");
      onDrag(this.canvas, at, drop);
    }
    // a wheel scrolls the page until the reader has chosen the picture
    if (wheel) this.canvas.addEventListener("wheel", event => {
      if (document.activeElement !== this.canvas) return;
      event.preventDefault();
      wheel(Math.sign(event.deltaY));
    }, { passive: false });
    if (key) this.canvas.addEventListener("keydown", event => { if (key(event)) event.preventDefault(); });
  }

  caption(title, note = "") {
    this.title.textContent = title;
    this.note.textContent = note;
  }

  // view: cross [x, y] in voxels, zoom, bar (length of the scale bar in mm), over(context, toScreen)
  draw(image, view = {}) {
    this.image = image;
    this.view = view;
    const { values, width, height, low, high } = image;
    if (this.raster.width !== width || this.raster.height !== height) {
      this.raster.width = width;
      this.raster.height = height;
      this.pixels = new ImageData(width, height);
    }
    const out = new Uint32Array(this.pixels.data.buffer), colours = image.colours ?? grey;
    const gain = 255 / (high - low || 1);
    for (let y = 0; y < height; y++) {
      for (let i = y * width, o = (height - 1 - y) * width, end = i + width; i < end; i++, o++) {
        const v = (values[i] - low) * gain;
        out[o] = colours[v < 0 ? 0 : v > 255 ? 255 : v + 0.5 | 0];
      }
    }
    this.raster.getContext("2d").putImageData(this.pixels, 0, 0);
    this.canvas.image = image;            // what the browser tests compare with numpy
    this.paint();
  }

  // an empty picture of the same size, with words on it
  say(words, { values, ...same }) {
    this.draw({ ...same, values: new Uint8Array(values.length) }, {
      over: (context, screen, ratio) => {
        context.fillStyle = "#cbd3dc";
        context.textAlign = "center";
        context.font = `${14 * ratio}px system-ui, sans-serif`;
        context.fillText(words, this.canvas.width / 2, this.canvas.height / 2);
      },
    });
  }

  // the part of the raster that is seen: x, y, width, height in voxels, top row first
  window() {
    const { width, height } = this.image, { zoom = 1, cross = [width / 2, height / 2] } = this.view;
    const w = width / zoom, h = height / zoom;
    return [limit(cross[0] + 0.5 - w / 2, 0, width - w), limit(height - cross[1] - 0.5 - h / 2, 0, height - h), w, h];
  }

  paint() {
    if (!this.image) return;
    const { width, height, spacing } = this.image, across = this.frame.clientWidth;
    if (!across) return;
    const ratio = devicePixelRatio || 1, w = Math.round(across * ratio);
    const h = Math.round(w * height * spacing[0] / (width * spacing[1]));
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
    }
    const context = this.canvas.getContext("2d"), [x0, y0, sw, sh] = this.window();
    context.imageSmoothingEnabled = false;
    context.fillStyle = "black";
    context.fillRect(0, 0, w, h);
    context.drawImage(this.raster, x0, y0, sw, sh, 0, 0, w, h);
    const screen = (x, y) => [(x - x0) / sw * w, (height - y - y0) / sh * h];
    this.view.over?.(context, screen, ratio);
    if (this.view.cross && this.view.lines !== false) this.crosshair(context, screen, ratio);
    if (this.view.bar) this.scaleBar(context, w / (sw * spacing[1]), ratio);
  }

  crosshair(context, screen, ratio) {
    const [x, y] = screen(this.view.cross[0] + 0.5, this.view.cross[1] + 0.5), { width, height } = this.canvas;
    const gap = 6 * ratio;
    for (const [colour, line] of [["rgb(0 0 0 / 55%)", 2.5], ["#5fd4f4", 1]]) {
      context.strokeStyle = colour;
      context.lineWidth = line * ratio;
      context.beginPath();
      for (const [a, b, c, d] of [[0, y, x - gap, y], [x + gap, y, width, y], [x, 0, x, y - gap], [x, y + gap, x, height]]) {
        context.moveTo(a, b);
        context.lineTo(c, d);
      }
      context.stroke();
    }
  }

  scaleBar(context, perMm, ratio) {
    const length = this.view.bar * perMm, x = 8 * ratio, y = this.canvas.height - 8 * ratio;
    if (length > 0.6 * this.canvas.width) return;
    context.strokeStyle = context.fillStyle = "white";
    context.lineWidth = 2 * ratio;
    context.shadowColor = "black";
    context.shadowBlur = 3 * ratio;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + length, y);
    context.stroke();
    context.textAlign = "left";
    context.font = `${10 * ratio}px system-ui, sans-serif`;
    context.fillText(`${this.view.bar} mm`, x, y - 5 * ratio);
    context.shadowBlur = 0;
  }
}

// A row of pictures to look at.
function pictures(parent, labels, columns = labels.length) {
  const grid = make("div", { class: "mri-panels" });
  grid.style.setProperty("--columns", columns);
  parent.append(grid);
  return labels.map(label => new Panel(grid, { label }));
}

const LINES = [["--mri-line-1", []], ["--mri-line-2", [7, 4]], ["--mri-line-3", [2, 3]], ["--mri-line-4", [9, 3, 2, 3]]];

// Curves over a common axis, with a marker that the reader can move where pick is given. A curve may be thin;
// range [low, high] holds the vertical axis still.
class Chart {
  constructor(parent, { label, xLabel, yLabel, curves, x, format = String, range = [], tall = 190, pick }) {
    Object.assign(this, { xLabel, yLabel, curves, x, format, range, tall, marker: pick ? 0 : null });
    this.canvas = make("canvas", { role: "img", "aria-label": label });
    this.frame = make("figure", { class: "mri-chart" }, this.canvas);
    this.legend = make("figcaption", { class: "mri-legend" });
    this.frame.append(this.legend);
    parent.append(this.frame);
    new ResizeObserver(() => this.paint()).observe(this.frame);
    this.frame.closest(".mri").addEventListener("mri-theme", () => this.paint());
    const at = event => {
      const box = this.canvas.getBoundingClientRect(), [left, right] = this.edges;
      const share = (event.clientX - box.left - left) / (right - left);
      pick(limit(Math.round(share * (this.x.length - 1)), 0, this.x.length - 1));
    };
    if (!pick) return;
    this.canvas.classList.add("mri-across");
    onDrag(this.canvas, at);
  }

  draw(marker, curves = this.curves) {
    this.marker = marker;
    this.curves = curves;
    this.paint();
  }

  paint() {
    const across = this.frame.clientWidth;
    if (!across) return;
    const style = getComputedStyle(this.frame), ratio = devicePixelRatio || 1, { tall } = this;
    const colour = name => style.getPropertyValue(name).trim();
    this.canvas.width = Math.round(across * ratio);
    this.canvas.height = tall * ratio;
    this.canvas.style.height = `${tall}px`;
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = "12px system-ui, sans-serif";
    const all = [...this.range, ...this.curves.flatMap(curve => curve.values)], steps = niceSteps(Math.min(...all), Math.max(...all), 5);
    const bottom = Math.min(Math.min(...all), steps[0]), top = Math.max(Math.max(...all), steps.at(-1));
    const left = 42, right = across - 12, low = tall - 36, high = 18;
    this.edges = [left, right];
    const px = i => left + (right - left) * (this.x.length > 1 ? i / (this.x.length - 1) : 0);
    const py = v => low + (high - low) * (v - bottom) / (top - bottom || 1);
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const step of steps) {
      context.strokeStyle = colour("--mri-rule");
      context.beginPath();
      context.moveTo(left, py(step));
      context.lineTo(right, py(step));
      context.stroke();
      context.fillStyle = colour("--mri-soft");
      context.fillText(String(+step.toFixed(6)), left - 6, py(step));
    }
    context.textAlign = "center";
    const every = Math.max(1, Math.ceil(this.x.length / (across / 55)));
    this.x.forEach((x, i) => { if (i % every === 0) context.fillText(this.format(x), px(i), low + 12); });
    context.fillText(this.xLabel, (left + right) / 2, tall - 8);
    context.textAlign = "left";
    context.fillText(this.yLabel, 2, 7);
    if (this.marker !== null) {
      context.strokeStyle = colour("--mri-accent");
      context.lineWidth = 1.5;
      context.beginPath();
      context.moveTo(px(this.marker), high - 4);
      context.lineTo(px(this.marker), low);
      context.stroke();
    }
    this.curves.forEach((curve, n) => {
      const [name, dash] = LINES[n % LINES.length];
      context.strokeStyle = context.fillStyle = colour(name);
      context.lineWidth = curve.thin ? 1 : 2;
      context.setLineDash(dash);
      context.beginPath();
      curve.values.forEach((v, i) => context.lineTo(px(i), py(v)));
      context.stroke();
      context.setLineDash([]);
      if (this.marker === null) return;
      context.beginPath();
      context.arc(px(this.marker), py(curve.values[this.marker]), 5, 0, 7);
      context.fill();
      context.strokeStyle = colour("--mri-ground");
      context.stroke();
    });
    this.legend.replaceChildren(...this.curves.map((curve, n) => {
      const [name, dash] = LINES[n % LINES.length];
      const swatch = `<svg width="26" height="8" aria-hidden="true"><line x1="0" x2="26" y1="4" y2="4" stroke-width="2.5"
        stroke="var(${name})" stroke-dasharray="${dash}"/></svg>`;
      const item = make("span", {});
      item.innerHTML = swatch;
      item.append(` ${curve.name}`);
      return item;
    }));
  }
}

function niceSteps(low, high, count) {
  const raw = (high - low || 1) / count, scale = 10 ** Math.floor(Math.log10(raw));
  const step = scale * [1, 2, 5, 10].find(f => f * scale >= raw);
  const steps = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-6; v += step) steps.push(v);
  return steps.length ? steps : [low];
}

// Sliders speak faster than the screen: at most one redraw a frame. root keeps how long the last one took, in ms.
function perFrame(root, draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      const begin = performance.now();
      asked = false;
      draw();
      root.dataset.ms = (performance.now() - begin).toFixed(1);
    });
  };
}

// Bytes of an image against those of the truth, as bytes.
const errorMap = (values, truth, gain) => values.map((v, i) => Math.min(255, gain * Math.abs(v - truth[i])));
const limit = (v, low, high) => Math.min(Math.max(v, low), high);
const short = v => String(+v.toPrecision(3));
const sizes = d => (d.every(v => Math.abs(v - d[0]) < 0.005 * d[0]) ? short(d[0]) : d.map(short).join(" × ")) + " mm";

// The same numbers from 0 to 1 for the same seed: a 32-bit generator (mulberry32).
function uniforms(seed) {
  let state = seed >>> 0;
  return () => {
    state = state + 0x6d2b79f5 >>> 0;
    let t = Math.imul(state ^ state >>> 15, state | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return ((t ^ t >>> 14) >>> 0) / 4294967296;
  };
}

// The same standard normal numbers for the same seed, by the formula of Box and Muller.
function normals(count, seed) {
  const uniform = uniforms(seed);
  return Float64Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
}

// Peak signal over the root mean square error, in decibels, as mrilab.metrics.psnr.
function psnr(values, truth) {
  let error = 0, peak = 0;
  for (let i = 0; i < truth.length; i++) {
    error += (values[i] - truth[i]) ** 2;
    if (truth[i] > peak) peak = truth[i];
  }
  return 10 * Math.log10(peak ** 2 * truth.length / error);
}

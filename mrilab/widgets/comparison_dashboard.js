const SIDES = ["A", "B"];
const SCORES = { psnr: v => v.toFixed(1), ssim: v => v.toFixed(3), lead: v => signed(v, 1) };
const MARGIN = { psnr: 0.1, ssim: 0.001, lead: 0.1 };         // what is less apart is level
const STEPS = [MARGIN.lead, 0.5, 1, 2];                       // of colour, in dB
const stepOf = lead => Math.sign(lead) * STEPS.filter(step => Math.abs(lead) >= step).length;
const signed = (v, digits) => `${+v.toFixed(digits) < 0 ? "−" : "+"}${Math.abs(v).toFixed(digits)}`;

// The cells that are best in their column, or level with the best; what does nothing does not compete.
function bestOf(cells, score) {
  const able = cells.filter(cell => !cell.no_op && score in cell), most = new Map();
  for (const cell of able) most.set(cell.column, Math.max(cell[score], most.get(cell.column) ?? -Infinity));
  return new Set(able.filter(cell => most.get(cell.column) - cell[score] < MARGIN[score]));
}

// Colour by dB behind or ahead of the reference, in steps; between them is none.
function tint(element, step) {
  element.classList.toggle("mri-behind", step < 0);
  element.classList.toggle("mri-ahead", step > 0);
  element.style.setProperty("--mix", `${6 + 10 * Math.abs(step)}%`);
}

function compareResults({ root, meta, data, announce }) {
  const { methods, columns, cells, slices, low, high, gain, plane, reference, start } = meta;
  const take = reader(data), unit = (high - low) / 255;
  const stored = slices.map(({ shape: [height, width], spacing }) => ({ values: take(height * width), height, width, spacing,
    low: (0 - low) / unit, high: (high - low) / unit }));
  const state = { A: cells[start[0]], B: cells[start[1]], side: "A", pair: "AB", score: "psnr", divider: 0.5, at: [0.36, 0.6], zoom: 3 };
  const methodOf = cell => [methods[cell.method].name, methods[cell.method].prior].filter(Boolean).join(", ");
  const testOf = cell => `${columns[cell.column].size}, R = ${short(columns[cell.column].rate)}`;
  const level = cell => reference && methodOf(cell) !== reference && !cell.no_op && Math.abs(cell.lead) < MARGIN.lead;

  const top = make("div", { class: "mri-row" });
  root.append(top);
  choice(top, "A click in the table chooses", SIDES.map(side => [side, side]), state.side, v => { state.side = v; });
  choice(top, "Numbers", [["psnr", "PSNR, dB"], ["ssim", "SSIM"],
    ...(reference ? [["lead", `PSNR minus ${reference}, dB`]] : [])], state.score, v => { state.score = v; fill(); });
  const { table, buttons } = resultTable(methods, columns, cells, cell => {
    state[state.side] = cell;
    fill();
    draw();
  });
  root.append(table);
  root.append(tableKey(reference, cells));

  function fill() {
    const { score } = state, best = bestOf(cells, score);
    for (const [cell, element] of buttons) {
      const sides = SIDES.filter(side => state[side] === cell);
      const said = [level(cell) && `level with ${reference}`, cell.no_op && "the interpolation does nothing",
        best.has(cell) && "among the best of its column"].filter(Boolean);
      element.replaceChildren(
        make("span", { class: "mri-spoken" }, `${methodOf(cell)}, ${testOf(cell)}: ${score === "lead" ? `psnr minus ${reference}` : score} `),
        score in cell ? SCORES[score](cell[score]) : "–",
        ...(level(cell) ? [make("sup", { "aria-hidden": "true" }, "=")] : []),
        make("span", { class: "mri-spoken" }, said.map(words => `, ${words}`).join("")),
        ...sides.map(side => make("b", { class: `mri-side mri-side-${side}` }, side)));
      element.classList.toggle("mri-best", best.has(cell));
      element.classList.toggle("mri-idle", Boolean(cell.no_op));
      tint(element, cell.no_op ? 0 : stepOf(cell.lead ?? 0));
      element.setAttribute("aria-pressed", sides.length > 0);
    }
  }

  const second = make("div", { class: "mri-row" });
  root.append(second);
  choice(second, "Left and right of the divider", [["AB", "A and B"], ["AT", "A and truth"], ["BT", "B and truth"]], state.pair,
    v => { state.pair = v; draw(); });
  const stage = make("div", { class: "mri-stage" });
  root.append(stage);
  const swipe = new Panel(stage, {
    label: "divider",
    point: (x, y, event) => {
      const box = swipe.canvas.getBoundingClientRect();
      divide((event.clientX - box.left) / box.width);
    },
    key: event => {
      const by = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
      if (by) divide(state.divider + by);
      return by;
    },
  });
  swipe.canvas.classList.replace("mri-pointed", "mri-across");
  for (const [name, value] of Object.entries({ role: "slider", "aria-valuemin": 0, "aria-valuemax": 100 })) swipe.canvas.setAttribute(name, value);
  const grid = make("div", { class: "mri-panels" });
  grid.style.setProperty("--columns", 2);
  stage.append(grid);
  const closeups = SIDES.map(() => new Panel(grid, { label: "close-up" }));
  const errors = SIDES.map(() => new Panel(grid, {
    label: "error", help: "Drag, or use the arrow keys, to move the close-up.",
    point: (x, y, event) => {
      const box = event.target.getBoundingClientRect();
      look((event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height);
    },
    key: event => {
      const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (by) look(state.at[0] + 0.02 * by[0], state.at[1] + 0.02 * by[1]);
      return by;
    },
  }));
  const controls = make("div", { class: "mri-controls" });
  root.append(controls);
  slider(controls, "Close-up", { min: 2, max: 10, step: 0.5, value: state.zoom, format: v => `${v.toFixed(1)} ×` },
    v => { state.zoom = v; look(...state.at); });
  const facts = make("p", { class: "mri-facts" });
  root.append(facts);

  function divide(share) { state.divider = limit(share, 0, 1); draw(); }

  // the close-up stays inside the picture
  function look(...at) {
    state.at = at.map(v => limit(v, 0.5 / state.zoom, 1 - 0.5 / state.zoom));
    draw();
  }

  const draw = perFrame(root, () => {
    const [left, right] = [...state.pair].map(side => {
      const cell = state[side === "T" ? state.pair[0] : side];
      return { name: side === "T" ? "truth" : side, image: stored[side === "T" ? cell.truth : cell.image] };
    });
    const blank = { ...stored[0] }, words = "no picture was kept";
    const frame = (context, ratio) => {
      const { width, height } = context.canvas, w = width / state.zoom, h = height / state.zoom;
      context.strokeStyle = "#ffae70";
      context.lineWidth = 1.5 * ratio;
      context.strokeRect(state.at[0] * width - w / 2, (1 - state.at[1]) * height - h / 2, w, h);
    };
    [left, right].forEach(({ name, image }, n) => {
      closeups[n].caption(`close-up of ${name}`, name === "truth" ? "" : methodOf(state[name]));
      closeups[n].canvas.setAttribute("aria-label", `close-up of ${name}`);
      if (!image) return closeups[n].say(words, blank);
      const cross = [state.at[0] * image.width - 0.5, state.at[1] * image.height - 0.5];
      closeups[n].draw(image, { cross, zoom: state.zoom, lines: false, bar: 5 });
    });
    SIDES.forEach((side, n) => {
      const image = stored[state[side].image], truth = stored[state[side].truth];
      errors[n].caption(`error of ${side} × ${gain}`, testOf(state[side]));
      errors[n].canvas.setAttribute("aria-label", `error of ${side}, ${plane} slice`);
      if (!image) return errors[n].say(words, blank);
      errors[n].draw({ ...image, values: errorMap(image.values, truth.values, gain), low: 0, high: high / unit },
        { over: (context, screen, ratio) => frame(context, ratio) });
    });
    swipe.draw(left.image ?? { ...blank, values: new Uint8Array(blank.values.length) }, { bar: 20, over: (context, screen, ratio) => {
      const { width, height } = context.canvas, x = state.divider * width, { raster } = closeups[1];
      context.save();
      context.beginPath();
      context.rect(x, 0, width - x, height);
      context.clip();
      context.drawImage(raster, 0, 0, raster.width, raster.height, 0, 0, width, height);
      context.restore();
      frame(context, ratio);
      context.fillStyle = "white";
      context.fillRect(x - ratio, 0, 2 * ratio, height);
      context.beginPath();
      context.arc(x, height / 2, 9 * ratio, 0, 7);
      context.fill();
      context.font = `600 ${14 * ratio}px system-ui, sans-serif`;
      context.shadowColor = "black";
      context.shadowBlur = 4 * ratio;
      context.textAlign = "right";
      if (x > 60 * ratio) context.fillText(left.name, x - 12 * ratio, 20 * ratio);
      context.textAlign = "left";
      if (x < width - 60 * ratio) context.fillText(right.name, x + 12 * ratio, 20 * ratio);
      context.shadowBlur = 0;
    } });
    const share = Math.round(100 * state.divider);
    swipe.caption(`${left.name} left, ${right.name} right`, "drag the divider");
    swipe.canvas.setAttribute("aria-label", `Divider between ${left.name} and ${right.name}`);
    swipe.canvas.setAttribute("aria-valuenow", share);
    swipe.canvas.setAttribute("aria-valuetext", `${share} % ${left.name}`);
    facts.textContent = tell();
    announce(facts.textContent);
  });

  function tell() {
    const { A, B } = state, apart = B.psnr - A.psnr;
    const one = (side, cell) => `${side}: ${methodOf(cell)}, ${testOf(cell)}: ${SCORES.psnr(cell.psnr)} dB, SSIM ${SCORES.ssim(cell.ssim)}`
      + (cell.count > 1 ? ` (mean of ${cell.count}). ` : ". ") + (cell.no_op ? "Its interpolation does nothing here. " : "");
    if (A === B) return `${one("A and B", A)}Choose another cell to compare.`;
    return `${one("A", A)}${one("B", B)}B against A: ${signed(apart, 1)} dB, SSIM ${signed(B.ssim - A.ssim, 3)}.`
      + (A.column === B.column ? Math.abs(apart) < MARGIN.psnr ? " They are level." : "" : " They were tested on different data, so the difference is not the method's alone.");
  }
  root.addEventListener("mri-theme", draw);
  fill();
  draw();
  requestAnimationFrame(() => {                 // a narrow page begins where A is
    const [box, chosen] = [table, buttons.get(state.A)].map(element => element.getBoundingClientRect());
    table.scrollLeft += chosen.right - box.right;
  });
}

// What the signs and colours of the table mean.
function tableKey(reference, cells) {
  const key = make("div", { class: "mri-key" });
  const add = (...parts) => key.append(make("p", {}, ...parts));
  if (reference) {
    const scale = make("span", { class: "mri-scale" });
    for (const edge of [...STEPS.map(step => -step).reverse(), 0, ...STEPS]) {
      const swatch = make("span", {}, edge ? `${edge < 0 ? "−" : "+"}${Math.abs(edge)}` : "=");
      tint(swatch, stepOf(edge));
      scale.append(swatch);
    }
    add(`PSNR behind (−) or ahead (+) of ${reference} by at least … dB: `, scale);
    add(make("b", {}, "="), ` level with ${reference}: less than ${MARGIN.lead} dB apart`);
  }
  add(make("b", {}, "bold"), ` the best of its column, and what is less than ${MARGIN.psnr} dB (SSIM: ${MARGIN.ssim}) from it`);
  if (cells.some(cell => cell.no_op)) {
    add(make("span", { class: "mri-idle" }, "grey"), " the interpolation does nothing: the prior’s grid is that of the scan");
  }
  add("– not measured");
  return key;
}

const breakable = name => name.split(/(?<=_)/).flatMap(part => [part, make("wbr")]);

// A table with a button in each measured cell. One of them is in the tab order, arrow keys go to the others.
function resultTable(methods, columns, cells, choose) {
  const groups = [...new Set(columns.map(c => c.size))].map(size => [size, columns.filter(c => c.size === size).length]);
  const head = make("thead", {},
    make("tr", {}, make("th", { rowspan: 2, scope: "col" }, "Method, prior"),
      ...groups.map(([size, n]) => make("th", { colspan: n, scope: "colgroup" }, size))),
    make("tr", {}, ...columns.map(c => make("th", { scope: "col" }, `R = ${short(c.rate)}`))));
  const buttons = new Map(), places = [], table = make("table", { "aria-label": "Results" }, head);
  let body;
  methods.forEach(({ name, prior, group }, row) => {
    if (!row || group !== methods[row - 1].group) {
      body = make("tbody");
      table.append(body);
      if (group) body.append(make("tr", {}, make("th", { scope: "rowgroup", colspan: columns.length + 1 }, make("span", {}, group))));
    }
    const line = make("tr", {}, make("th", { scope: "row" }, ...breakable(name), ...(prior ? [make("span", { class: "mri-note" }, prior)] : [])));
    columns.forEach((_, column) => {
      const cell = cells.find(c => c.method === row && c.column === column);
      const entry = make("button", { type: "button", ...(cell ? { tabindex: buttons.size ? -1 : 0 } : { disabled: "", "aria-label": "not measured" }) }, "–");
      line.append(make("td", {}, entry));
      if (!cell) return;
      buttons.set(cell, entry);
      places.push([row, column, entry]);
      entry.addEventListener("click", () => { enter(entry); choose(cell); });
    });
    body.append(line);
  });

  function enter(entry) {
    for (const [, , other] of places) other.tabIndex = other === entry ? 0 : -1;
    entry.focus();
    entry.scrollIntoView({ block: "nearest", inline: "nearest" });      // focus alone leaves one half seen
  }
  table.addEventListener("keydown", event => {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const here = places.find(([, , entry]) => entry === event.target);
    if (!by || !here) return;
    event.preventDefault();
    const along = by[0] ? 0 : 1, across = 1 - along, step = by[along];
    const ahead = places.filter(p => p[across] === here[across] && (p[along] - here[along]) * step > 0);
    ahead.sort((p, q) => (p[along] - q[along]) * step);
    if (ahead.length) enter(ahead[0][2]);
  });
  return { table: make("div", { class: "mri-table" }, table), buttons };
}

export default { render: context => mount(context, compareResults) };

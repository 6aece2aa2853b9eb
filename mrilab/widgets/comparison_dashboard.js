const SIDES = ["A", "B"];

function compareResults({ root, meta, data, announce }) {
  const { methods, columns, cells, slices, low, high, gain, plane, start } = meta;
  const take = reader(data), unit = (high - low) / 255;
  const stored = slices.map(({ shape: [height, width], spacing }) => ({ values: take(height * width), height, width, spacing,
    low: (0 - low) / unit, high: (high - low) / unit }));
  const state = { A: cells[start[0]], B: cells[start[1]], side: "A", pair: "AB", score: "psnr", divider: 0.5, at: [0.36, 0.6], zoom: 3 };
  const methodOf = cell => [methods[cell.method].name, methods[cell.method].prior].filter(Boolean).join(", ");
  const testOf = cell => `${columns[cell.column].size}, R = ${short(columns[cell.column].rate)}`;
  const scores = { psnr: v => v.toFixed(1), ssim: v => v.toFixed(3) };

  const top = make("div", { class: "mri-row" });
  root.append(top);
  choice(top, "A click in the table chooses", SIDES.map(side => [side, side]), state.side, v => { state.side = v; });
  choice(top, "Numbers", [["psnr", "PSNR, dB"], ["ssim", "SSIM"]], state.score, v => { state.score = v; fill(); });
  const { table, buttons } = resultTable(methods, columns, cells, cell => {
    state[state.side] = cell;
    fill();
    draw();
  });
  root.append(table);
  const key = make("p", { class: "mri-note" }, "Bold: the best of its column. A dash: not measured.");
  root.append(key);

  function fill() {
    const best = columns.map((_, n) => Math.max(...cells.filter(cell => cell.column === n).map(cell => cell[state.score])));
    for (const [cell, element] of buttons) {
      const sides = SIDES.filter(side => state[side] === cell);
      element.replaceChildren(make("span", { class: "mri-spoken" }, `${methodOf(cell)}, ${testOf(cell)}: ${state.score} `),
        scores[state.score](cell[state.score]), ...sides.map(side => make("b", { class: `mri-side mri-side-${side}` }, side)));
      element.classList.toggle("mri-best", cell[state.score] === best[cell.column]);
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
    const { A, B } = state, signed = (v, digits) => `${v < 0 ? "−" : "+"}${Math.abs(v).toFixed(digits)}`;
    const one = (side, cell) => `${side}: ${methodOf(cell)}, ${testOf(cell)}: ${scores.psnr(cell.psnr)} dB, SSIM ${scores.ssim(cell.ssim)}`
      + (cell.count > 1 ? ` (mean of ${cell.count}). ` : ". ");
    if (A === B) return `${one("A and B", A)}Choose another cell to compare.`;
    return `${one("A", A)}${one("B", B)}B against A: ${signed(B.psnr - A.psnr, 1)} dB, SSIM ${signed(B.ssim - A.ssim, 3)}.`
      + (A.column === B.column ? "" : " They were tested on different data, so the difference is not the method's alone.");
  }
  root.addEventListener("mri-theme", draw);
  fill();
  draw();
}

// A table with a button in each measured cell. One of them is in the tab order, arrow keys go to the others.
function resultTable(methods, columns, cells, choose) {
  const groups = [...new Set(columns.map(c => c.size))].map(size => [size, columns.filter(c => c.size === size).length]);
  const head = make("thead", {},
    make("tr", {}, make("th", { rowspan: 2, scope: "col" }, "Method, prior"),
      ...groups.map(([size, n]) => make("th", { colspan: n, scope: "colgroup" }, size))),
    make("tr", {}, ...columns.map(c => make("th", { scope: "col" }, `R = ${short(c.rate)}`))));
  const body = make("tbody"), buttons = new Map(), places = [];
  methods.forEach(({ name, prior }, row) => {
    const line = make("tr", {}, make("th", { scope: "row" }, name, ...(prior ? [make("span", { class: "mri-note" }, prior)] : [])));
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
  }
  body.addEventListener("keydown", event => {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const here = places.find(([, , entry]) => entry === event.target);
    if (!by || !here) return;
    event.preventDefault();
    const along = by[0] ? 0 : 1, across = 1 - along, step = by[along];
    const ahead = places.filter(p => p[across] === here[across] && (p[along] - here[along]) * step > 0);
    ahead.sort((p, q) => (p[along] - q[along]) * step);
    if (ahead.length) enter(ahead[0][2]);
  });
  const table = make("div", { class: "mri-table" }, make("table", { "aria-label": "Results" }, head, body));
  return { table, buttons };
}

export default { render: context => mount(context, compareResults) };

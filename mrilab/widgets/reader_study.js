const SEEN = ["A", "B"], TOLD = { left: "A", equal: "equal", right: "B" };

function studyImages({ root, model, meta, data, announce }) {
  const { cases, pairs, columns, study, seed, confidence } = meta;
  const take = reader(data);
  const stored = cases.map(({ methods, truth, shape: [height, width] }) => {
    const images = methods.map(() => take(height * width));
    return { images, truth: truth ? take(height * width) : null };
  });
  const state = { name: `reader ${Math.random().toString(36).slice(2, 6)}`, order: [], answers: [], answer: null,
    over: false, unsaved: false, white: 1, zoom: 1, at: [0.5, 0.5], since: performance.now() };
  const done = () => state.answers.length === pairs.length;

  const top = make("div", { class: "mri-row" });
  root.append(top);
  const name = textField(top, "Reader", state.name, value => { state.name = value.trim() || "reader"; start(); });
  const back = button(top, "Back", undo);
  const save = button(top, "Save the answers (CSV)", download);
  for (const plain of [back, save]) plain.classList.add("mri-plain");
  const progress = make("progress", { class: "mri-progress", max: pairs.length, value: 0, "aria-label": "Pairs answered" });
  const count = make("p", { class: "mri-count" });
  root.append(progress, count);

  const stage = make("div");
  root.append(stage);
  const grid = make("div", { class: "mri-panels" });
  stage.append(grid);
  let held = null;                      // the voxel under the pointer stays under it
  const panels = [...SEEN, "truth"].map(label => new Panel(grid, {
    label, help: "Drag, or use the arrow keys, to move all pictures when they are zoomed.",
    point: (x, y) => {
      held ??= [x, y];
      const [height, width] = current().shape;
      look(state.at[0] + (held[0] - x) / width, state.at[1] + (held[1] - y) / height);
    },
    drop: () => { held = null; },
    key: event => {
      const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (by) look(state.at[0] + 0.04 * by[0], state.at[1] + 0.04 * by[1]);
      return by;
    },
  }));

  const question = make("div", { class: "mri-row mri-question" });
  stage.append(question);
  const group = label => {
    const set = make("div", { role: "group", class: "mri-answers", "aria-label": label }, make("span", {}, label));
    question.append(set);
    return set;
  };
  const which = group("Which is better?"), sure = group("How sure?");
  const keys = {};                      // a key, and the button it presses
  const option = (parent, key, label, press) => {
    const element = button(parent, "", press);
    element.append(make("span", {}, label), make("kbd", { "aria-hidden": "true" }, key.toUpperCase()));
    element.setAttribute("aria-keyshortcuts", key.toUpperCase());
    element.classList.add("mri-plain");
    keys[key] = element;
    return element;
  };
  const options = Object.entries(TOLD).map(([answer, label]) => [answer,
    option(which, label[0].toLowerCase(), label, () => { state.answer = answer; show(); })]);
  const levels = Object.entries(confidence).map(([level, words]) => option(sure, level, words, () => record(level)));
  const controls = make("div", { class: "mri-controls" });
  stage.append(controls);
  slider(controls, "White at", { min: 0.3, max: 2, step: 0.05, value: 1, format: v => `${Math.round(100 * v)} %` },
    v => { state.white = v; draw(); });
  slider(controls, "Zoom", { min: 1, max: 6, step: 0.1, value: 1, format: v => `${v.toFixed(1)} ×` },
    v => { state.zoom = v; look(...state.at); });
  const over = toggle(controls, "truth over A and B (key T)", false, on => { state.over = on; draw(); });
  const facts = make("p", { class: "mri-facts", hidden: "" });
  root.append(facts);
  const reveal = button(root, "Show what I preferred", unblind);

  // keys of the whole figure, but for those that write the reader's name
  root.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.type === "text") return;
    const key = event.key.toLowerCase();
    if (key === "backspace") { event.preventDefault(); return undo(); }
    if (done()) return;
    if (key === "t" && !over.parentElement.hidden) over.click();
    keys[key]?.click();
  });

  const current = () => cases[state.order[Math.min(state.answers.length, pairs.length - 1)][0]];

  // The same name gives the same order.
  function start() {
    const uniform = uniforms([...state.name].reduce((sum, c) => Math.imul(sum, 31) + c.codePointAt(0) | 0, seed));
    state.order = pairs.map(([n, i, j]) => (uniform() < 0.5 ? [n, i, j] : [n, j, i]));
    for (let i = pairs.length - 1; i > 0; i--) {
      const k = Math.floor(uniform() * (i + 1));
      [state.order[i], state.order[k]] = [state.order[k], state.order[i]];
    }
    next();
  }

  function record(level) {
    if (!state.answer) {
      count.textContent = "First choose A, equal or B.";
      return announce(count.textContent);
    }
    const [n, left, right] = state.order[state.answers.length], { case: name, methods } = cases[n];
    state.answers.push({ study, reader: state.name, trial: state.answers.length + 1, case: name, left: methods[left],
      right: methods[right], answer: state.answer, confidence: level, seconds: ((performance.now() - state.since) / 1000).toFixed(1) });
    state.unsaved = true;
    next();
  }

  function undo() {
    if (state.answers.length === 0 || !facts.hidden) return;
    state.answers.pop();
    state.unsaved = state.answers.length > 0;
    next();
  }

  function next() {
    state.answer = null;
    state.since = performance.now();
    const inside = stage.contains(document.activeElement);
    stage.hidden = done();
    if (inside && done()) save.focus();                 // or the focus would be lost with what had it
    show();
    model.set("csv", csv());
    model.save_changes();
    if (!done()) draw();
  }

  function show() {
    const { length } = state.answers;
    name.disabled = length > 0;                         // the order depends on it
    back.disabled = length === 0 || !facts.hidden;
    save.disabled = length === 0;
    reveal.hidden = !done() || !facts.hidden;
    progress.value = length;
    count.textContent = done() ? `Everything is answered. Save the answers.` : `Pair ${length + 1} of ${pairs.length}`;
    for (const [answer, element] of options) element.setAttribute("aria-pressed", state.answer === answer);
    for (const element of levels) element.setAttribute("aria-disabled", !state.answer);
    announce(state.answer ? `${TOLD[state.answer]} chosen. How sure?` : count.textContent);
  }

  function csv() {
    const cell = value => (/[",;\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
    return [columns, ...state.answers.map(answer => columns.map(column => cell(answer[column])))]
      .map(line => `${line.join(",")}\r\n`).join("");
  }

  function download() {
    const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    const link = make("a", { href: url, download: `${study} ${state.name.replace(/[^\p{L}\p{N}-]+/gu, "-")}.csv` });
    root.append(link);
    link.click();
    link.remove();
    state.unsaved = false;
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  // The names, once nothing is left to be answered.
  function unblind() {
    const counts = new Map();
    for (const { left, right, answer } of state.answers) {
      const methods = [left, right].sort(), key = methods.join("\n"), tally = counts.get(key) ?? [0, 0, 0];
      tally[answer === "equal" ? 2 : methods.indexOf(answer === "left" ? left : right)]++;
      counts.set(key, tally);
    }
    facts.textContent = `You preferred: ${[...counts].map(([key, [first, second, equal]]) => {
      const methods = key.split("\n");
      return `${methods[0]} ${first}, ${methods[1]} ${second}, equal ${equal}`;
    }).join("; ")}.`;
    facts.hidden = false;
    show();
    save.focus();
    announce(facts.textContent);
  }

  // what is seen stays inside the picture
  function look(...at) {
    state.at = at.map(v => limit(v, 0.5 / state.zoom, 1 - 0.5 / state.zoom));
    draw();
  }

  const draw = perFrame(root, () => {
    const [n, left, right] = state.order[Math.min(state.answers.length, pairs.length - 1)];
    const { shape: [height, width], spacing, low, high } = cases[n], { images, truth } = stored[n], unit = (high - low) / 255;
    const cross = [state.at[0] * width - 0.5, state.at[1] * height - 0.5];
    const wide = width * spacing[1] > 1.5 * height * spacing[0];
    grid.style.setProperty("--columns", wide || !truth ? 2 : 3);
    grid.style.setProperty("--narrow", wide ? 1 : 2);
    over.parentElement.hidden = panels[2].frame.hidden = !truth;
    const covered = state.over && truth;
    [images[left], images[right], truth].forEach((values, k) => {
      if (!values) return;
      panels[k].draw({ values: covered ? truth : values, height, width, spacing, low: (0 - low) / unit,
        high: (state.white * high - low) / unit }, { cross, zoom: state.zoom, lines: false, bar: 20 });
      panels[k].caption(k === 2 || covered ? "truth" : SEEN[k], k === 2 ? `voxels of ${sizes(spacing)}` : covered ? `in place of ${SEEN[k]}` : "");
      panels[k].canvas.setAttribute("aria-label", k === 2 || covered ? "truth" : `image ${SEEN[k]}`);
      panels[k].canvas.classList.toggle("mri-across", state.zoom === 1);        // a finger scrolls the page
    });
  });

  // the browser asks before the page is left with answers in no file
  window.addEventListener("beforeunload", event => { if (root.isConnected && state.unsaved) event.preventDefault(); });
  root.addEventListener("mri-theme", draw);
  start();
}

function textField(parent, label, value, change) {
  const input = make("input", { type: "text", value, autocomplete: "off", spellcheck: "false", maxlength: 40 });
  input.addEventListener("change", () => change(input.value));
  parent.append(make("label", { class: "mri-field" }, make("span", {}, label), input));
  return input;
}

export default { render: context => mount(context, studyImages) };

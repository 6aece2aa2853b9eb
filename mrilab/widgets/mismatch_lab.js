function judgePriors({ root, meta, data, announce }) {
  const { scans, priors, meters, units } = meta, take = reader(data);
  for (const scan of scans) scan.images = Array.from({ length: priors.length + 1 }, () => take(scan.shape[0] * scan.shape[1]));
  const state = { scan: 0, prior: 0 };

  const top = make("div", { class: "mri-row" });
  root.append(top);
  choice(top, "Voxel size of the scan", scans.map(({ label }, i) => [String(i), label]), "0", key => { state.scan = +key; draw(); });
  choice(top, "Prior", priors.map((name, i) => [String(i), name]), "0", key => { state.prior = +key; draw(); });
  const panels = pictures(root, ["truth", "reconstruction", "error"], 3);
  const table = make("table", { class: "mri-judged" });
  const facts = make("p", { class: "mri-facts" });
  root.append(table, facts);

  const cell = ([value, half], widest) => {
    const bar = make("span", { class: "mri-bar", "aria-hidden": "true" }), digits = widest < 1 ? 3 : 2;
    bar.style.setProperty("--share", `${100 * Math.max(0, value) / (widest || 1)}%`);
    const words = [value, half].filter(v => v !== undefined).map(v => v.toFixed(digits)).join(" ± ");
    return make("td", {}, make("span", {}, value ? words : "best"), bar);
  };

  const draw = perFrame(root, () => {
    const { label, shape: [height, width], spacing, low, high, images, psnr, behind } = scans[state.scan];
    const same = { height, width, spacing, low: (0 - low) / ((high - low) / 255), high: 255 }, best = Math.max(...psnr);
    const image = images[state.prior + 1], [truth] = images, name = priors[state.prior];
    panels[0].draw({ ...same, values: truth }, { bar: 20 });
    panels[0].caption("truth", `voxels of ${label}`);
    panels[1].draw({ ...same, values: image });
    panels[1].caption(name, `${psnr[state.prior].toFixed(1)} dB`);
    panels[2].draw({ ...same, low: 0, values: errorMap(image, truth, 5) });
    panels[2].caption("error × 5");
    const lost = psnr.map(v => best - v), columns = [...behind, lost.map(v => [v])];
    const widest = columns.map(column => Math.max(...column.map(([v]) => v)));
    const head = ["prior", ...meters.map((meter, m) => `${meter}, ${units[m]}`), "truth, dB"];
    table.replaceChildren(make("caption", {}, `By how much each prior is behind the best, scan of ${label}`),
      make("thead", {}, make("tr", {}, ...head.map(words => make("th", { scope: "col" }, words)))),
      make("tbody", {}, ...priors.map((prior, i) => make("tr", i === state.prior ? { "aria-current": "true" } : {},
        make("th", { scope: "row" }, ...prior.split(/(?<=_)/).flatMap(part => [part, make("wbr")])),
        ...columns.map((column, n) => cell(column[i], widest[n]))))));
    const right = behind.map(pairs => priors[pairs.findIndex(([v]) => v === 0)]);
    facts.textContent = `The truth prefers ${priors[lost.indexOf(0)]}; ` +
      meters.map((meter, m) => `${meter} picks ${right[m]}`).join(", ") + ".";
    announce(`${label}, ${name}: ${psnr[state.prior].toFixed(1)} dB. ${facts.textContent}`);
  });
  root.addEventListener("mri-theme", draw);
  draw();
}

export default { render: context => mount(context, judgePriors) };

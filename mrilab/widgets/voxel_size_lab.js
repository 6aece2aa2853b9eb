// Mean power of a slice in rings |k| up to half a cycle per voxel, as chapter 4's: a Hann window, so that no edge counts.
function ringPower({ values, height, width }, rings) {
  const hann = n => Float64Array.from({ length: n }, (_, i) => 0.5 - 0.5 * Math.cos(2 * Math.PI * i / n));
  const [down, across] = [hann(height), hann(width)], window = (y, x) => down[y] * across[x];
  const re = Float64Array.from(values, (v, i) => v * window(Math.floor(i / width), i % width));
  const { re: a, im: b } = fft2c({ re, im: null, height, width }), power = new Float64Array(rings), count = new Float64Array(rings);
  for (let i = 0; i < a.length; i++) {
    const k = Math.hypot((Math.floor(i / width) - (height >> 1)) / height, (i % width - (width >> 1)) / width);
    const ring = Math.floor(2 * rings * k + 1e-9);
    if (ring < rings) { power[ring] += a[i] ** 2 + b[i] ** 2; count[ring]++; }
  }
  const square = n => hann(n).reduce((s, v) => s + v * v, 0) / n;
  return power.map((v, n) => v / count[n] / (square(height) * square(width)));
}

// The middle of a slice, framed by zeros where the slice is smaller.
function patchOf({ values, height, width }, side) {
  const out = new Float64Array(side * side), shift = n => Math.floor((side - Math.min(side, n)) / 2) - Math.floor((n - Math.min(side, n)) / 2);
  const [down, across] = [shift(height), shift(width)];
  values.forEach((v, i) => {
    const y = Math.floor(i / width) + down, x = i % width + across;
    if (y >= 0 && y < side && x >= 0 && x < side) out[y * side + x] = v;
  });
  return { values: out, corner: [-across, -down] };
}

function seeAsNetwork({ root, meta, data, announce }) {
  const { sizes: entries, low, high, side, plane, rings } = meta, take = reader(data), unit = (high - low) / 255;
  const slices = entries.map(({ shape: [height, width], spacing }) => ({ height, width, spacing, values: Float64Array.from(take(height * width), v => low + unit * v) }));
  const spectra = slices.map(slice => ringPower(slice, rings)), logs = spectra.map(power => Array.from(power, Math.log10));
  const trained = entries[0].label, all = logs.flat();
  let n = 0;

  const grid = make("div", { class: "mri-panels mri-sized" });
  root.append(grid);
  const [whole, patch] = [`${plane} slice`, "patch"].map(label => new Panel(grid, { label }));
  const chart = new Chart(grid, { label: "spectrum of the slice, cycles per pixel", xLabel: "cycles per pixel", yLabel: "log₁₀ of the power",
    x: Array.from({ length: rings }, (_, i) => (i + 0.5) / (2 * rings)), format: v => v.toFixed(2), curves: [], tall: 230, range: [Math.min(...all), Math.max(...all)] });
  const controls = make("div", { class: "mri-controls" });
  root.append(controls);
  slider(controls, "Voxel size", { min: 0, max: entries.length - 1, value: 0, format: i => entries[i].label }, i => { n = i; draw(); })
    .input.parentElement.style.gridColumn = "1 / -1";
  const facts = make("p", { class: "mri-facts" });
  root.append(facts);

  const draw = perFrame(root, () => {
    const { label } = entries[n], slice = slices[n], seen = patchOf(slice, side), mm = slice.spacing.map(d => Math.round(side * d));
    whole.draw({ ...slice, low: 0, high }, {
      bar: 20,
      over: (context, screen, ratio) => {
        const [x, y] = seen.corner, [x0, y0] = screen(x, y + side), [x1, y1] = screen(x + side, y);
        context.strokeStyle = "#5fd4f4";
        context.lineWidth = 2 * ratio;
        context.strokeRect(x0, y0, x1 - x0, y1 - y0);
      },
    });
    whole.caption("the slice, in mm", `${slice.height} × ${slice.width} voxels of ${label}`);
    patch.draw({ values: seen.values, height: side, width: side, spacing: [1, 1], low: 0, high });
    patch.caption("the network’s patch", `${side} pixels = ${Math.abs(mm[0] - mm[1]) < 3 ? mm[0] : mm.join(" × ")} mm`);
    chart.draw(null, [{ name: label, values: logs[n] }, { name: `${trained}, the training size`, values: logs[0], thin: true }]);
    const upper = power => power.slice(rings >> 1).reduce((a, b) => a + b, 0), rise = upper(spectra[n]) / upper(spectra[0]);
    facts.textContent = n ? `In the upper half of the spectrum a pixel has ${rise.toFixed(1)} times the power that it has at ${trained}.`
      : "This is the voxel size of training: both curves are one.";
    announce(`voxel size ${label}, a patch of ${mm[0]} mm. ${facts.textContent}`);
  });
  root.addEventListener("mri-theme", draw);
  draw();
}

export default { render: context => mount(context, seeAsNetwork) };

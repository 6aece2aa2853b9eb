// Play with every widget of a page, the network cut off, by mouse and keyboard or by touch, and report what was drawn.
// usage: node play.mjs BROWSER URL WIDTH SHOTS > report.json
import { readFileSync } from 'fs';
import { createRequire } from 'module';
import { launch } from './browser.mjs';

const [browser, url, width, shots] = process.argv.slice(2);
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const phone = +width < 500;
const chrome = await launch(browser);
const context = await chrome.newContext({
  viewport: { width: +width, height: 900 }, hasTouch: phone, deviceScaleFactor: phone ? 2 : 1, colorScheme: phone ? 'dark' : 'light',
});
const root = url.slice(0, url.lastIndexOf('/') + 1);

async function open(prepare) {
  const page = await context.newPage(), faults = [];
  page.setDefaultTimeout(60000);
  page.on('request', r => { if (!r.url().startsWith(root) && !/^(data|blob):/.test(r.url())) faults.push('request outside the book: ' + r.url()); });
  page.on('requestfailed', r => faults.push('request failed: ' + r.url()));
  page.on('pageerror', e => faults.push('page error: ' + String(e.stack).slice(0, 400)));
  page.on('console', m => { if (m.type() === 'error') faults.push('console error: ' + m.text().slice(0, 300)); });
  if (prepare) await page.addInitScript(prepare);
  const meter = await context.newCDPSession(page);
  await meter.send('Performance.enable', { timeDomain: 'threadTicks' });
  const busy = async () => 1000 * (await meter.send('Performance.getMetrics')).metrics.find(m => m.name === 'TaskDuration').value;
  await page.goto(url, { waitUntil: 'load' });
  const loaded = await busy();              // milliseconds of the page's own thread, whatever else the machine does
  const views = await page.locator('script[type="application/vnd.jupyter.widget-view+json"]').count();
  return { page, faults, views, busy: async () => await busy() - loaded };
}

const report = {};
const { page, faults, views, busy } = await open();
// the theme's floating button comes and goes above what a finger wants to reach
await page.addStyleTag({ content: 'html { scroll-behavior: auto !important; } #pst-back-to-top { display: none !important; }' });
await page.waitForFunction(n => document.querySelectorAll('.mri').length === n
  && [...document.querySelectorAll('.mri')].every(w => w.querySelector('canvas')?.image), views);
const firstDraw = await page.evaluate(() => performance.now() - performance.getEntriesByType('navigation')[0].loadEventEnd);
report.firstDraw = { clock: firstDraw, processor: await busy() };
await page.waitForTimeout(300);

// everything a widget shows: one number for each canvas, and the words of a table
const pixels = widget => widget.evaluate(w => [...w.querySelectorAll('canvas')].map(c => {
  if (!c.width || !c.offsetWidth) return 0;
  let hash = 7;
  for (const v of new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)) hash = Math.imul(hash, 31) + v | 0;
  return hash;
}).join() + w.querySelector('table')?.textContent);
const moves = [];

// what is shown once nothing more happens: a late layout or an earlier control must not pass for this one's effect
async function settled(widget) {
  let last, shown = await pixels(widget);
  for (let i = 0; i < 40 && shown !== last; i++) {
    last = shown;
    await page.waitForTimeout(60);
    shown = await pixels(widget);
  }
  return shown;
}

async function act(widget, control, how, action) {
  const before = await settled(widget);
  await action();
  let changed = false;
  for (let i = 0; i < 100 && !changed; i++) {
    changed = await pixels(widget) !== before;
    if (!changed) await page.waitForTimeout(50);
  }
  moves.push({ widget: await widget.getAttribute('aria-label'), control, how, changed });
}

async function press(target, options) {
  await target.scrollIntoViewIfNeeded();
  if (!phone) return target.click(options);
  await page.waitForTimeout(50);
  const touched = await target.elementHandle();       // its name may be another one afterwards
  await target.tap(options);
  // what was tapped stays pressed for 150 ms; a key that is down when that ends is lost
  await page.waitForFunction(e => !e.matches(':active'), touched);
}
const how = phone ? 'touch' : 'mouse';

// down at one place, along, up at another: a finger or the mouse; places are fractions of the target's width and height
const finger = await context.newCDPSession(page);
async function drag(target, from, to) {
  await target.scrollIntoViewIfNeeded();
  await page.waitForTimeout(50);
  const box = await target.boundingBox();
  const path = [0, 0.25, 0.5, 0.75, 1].map(t => [0, 1].map(a => from[a] + t * (to[a] - from[a])))
    .map(([x, y]) => ({ x: box.x + x * box.width, y: box.y + y * box.height }));
  if (!phone) {
    await page.mouse.move(path[0].x, path[0].y);
    await page.mouse.down();
    for (const { x, y } of path.slice(1)) await page.mouse.move(x, y);
    return page.mouse.up();
  }
  const send = (type, points) => finger.send('Input.dispatchTouchEvent', { type, touchPoints: points });
  await send('touchStart', [path[0]]);
  for (const point of path.slice(1)) await send('touchMove', [point]);
  await page.waitForTimeout(100);          // a finger at rest: after a flick the browser would swallow the next tap
  await send('touchEnd', []);
  await page.waitForTimeout(300);
}
const image = (widget, n) => widget.locator('canvas').nth(n).evaluate(({ image: i, width, height }) =>
  ({ values: [...i.values], height: i.height, width: i.width, spacing: i.spacing, drawn: [height, width] }));

async function everyControl(widget, passive) {
  for (const box of await widget.getByRole('checkbox').all()) {
    const name = await box.evaluate(b => b.labels[0].textContent);
    await act(widget, name, how, () => press(box));
    await act(widget, name, 'keyboard', () => box.press('Space'));
  }
  for (const set of await widget.locator('fieldset').all()) {
    if (!await set.isVisible()) continue;
    const before = await set.locator('input:checked').getAttribute('value');
    for (const radio of await set.getByRole('radio').all()) {
      const name = await radio.evaluate(r => r.labels[0].textContent);
      if (passive.includes(name) || await radio.isChecked()) continue;
      await act(widget, name, how, () => press(radio));
      if (await radio.evaluate(r => r.closest('label').previousElementSibling !== null)) {
        await act(widget, name, 'keyboard', () => radio.press('ArrowLeft'));
      }
    }
    await press(set.locator(`input[value="${before}"]`));        // leave it as it was
  }
  for (const slider of await widget.getByRole('slider').all()) {
    const name = await slider.evaluate(s => s.labels?.[0].textContent ?? s.ariaLabel);
    if (passive.includes(name) || await slider.isDisabled()) continue;
    await act(widget, name, how, () => drag(slider, [0.4, 0.5], [0.8, 0.5]));
    await act(widget, name, 'keyboard', async () => { for (let i = 0; i < 4; i++) await slider.press('ArrowLeft'); await slider.press('PageDown'); });
  }
}

const find = text => page.locator(`.mri[aria-label*="${text}"]`);

// volumes: the picture itself, by pointer, wheel and keys
const viewer = find('in three planes');
if (await viewer.count()) {
  report.openedOn = await viewer.locator('canvas').first().getAttribute('aria-label');
  const three = viewer.getByRole('radio', { name: 'all three' });
  if (await three.count() && !await three.isChecked()) await act(viewer, 'all three', how, () => press(three));
  report.axial = await image(viewer, 0);
  const volume = viewer.getByRole('group', { name: 'Volume' });
  if (await volume.count()) await act(viewer, 'radio planes', how, () => press(volume.getByRole('radio').nth(1)));
  const outside = viewer.locator('.mri-surface canvas');
  if (await outside.count()) {
    report.surface = await outside.evaluate(({ image: i }) =>
      ({ values: [...i.values], height: i.height, width: i.width, spacing: i.spacing, turn: i.turn }));
    await act(viewer, 'surface', how, () => drag(outside, [0.5, 0.5], [0.7, 0.5]));
    await act(viewer, 'ArrowRight', 'keyboard', () => outside.press('ArrowRight'));
  }
  await act(viewer, 'crosshair', how, () => drag(viewer.locator('canvas').first(), [0.5, 0.5], [0.3, 0.4]));
  report.crosshair = await viewer.locator('.mri-facts').textContent();
  for (const key of ['ArrowUp', 'ArrowLeft', 'PageUp']) await act(viewer, key, 'keyboard', () => viewer.locator('canvas').first().press(key));
  if (!phone) await act(viewer, 'wheel', 'mouse', async () => { await viewer.locator('canvas').first().hover(); await page.mouse.wheel(0, 100); });
  await viewer.screenshot({ path: `${shots}-volumes.png` });
  await everyControl(viewer, []);
}

// k-space: drawn by hand, then cropped
const lab = find('choose what is measured');
if (await lab.count()) {
  await everyControl(lab, ['Pen radius', 'measure', 'skip', 'drawn']);
  await press(lab.getByRole('radio', { name: 'centre' }));
  await lab.getByRole('slider', { name: 'Noise' }).press('Home');
  await lab.getByRole('slider', { name: 'Acceleration' }).press('End');
  for (const axis of ['kz', 'ky']) {
    const slider = lab.getByRole('slider', { name: axis });
    await slider.press('Home');
    for (let i = 0; i < 20; i++) await slider.press('ArrowRight');          // 2 mm
  }
  const kspace = lab.locator('canvas').first();
  await act(lab, 'pen', how, () => drag(kspace, [0.28, 0.3], [0.36, 0.36]));
  await act(lab, 'pen moves', 'keyboard', () => kspace.press('Shift+ArrowRight'));
  await page.waitForTimeout(200);
  report.kspace = await image(lab, 0);
  report.image = await image(lab, 1);
  report.spread = await image(lab, 2);
  await lab.screenshot({ path: `${shots}-kspace.png` });
  await press(lab.getByRole('radio', { name: 'skip' }));
  await act(lab, 'pen draws', 'keyboard', async () => { for (let i = 0; i < 2; i++) await kspace.press('Shift+ArrowLeft'); await kspace.press(' '); });
  await act(lab, 'Measure nothing', how, () => press(lab.getByRole('button', { name: 'Measure nothing' })));
  report.nothing = await lab.locator('.mri-facts').textContent();

  // for the score: the finest voxels, and a thick line of the pen through the centre
  for (const axis of ['kz', 'ky']) await lab.getByRole('slider', { name: axis }).press('Home');
  await press(lab.getByRole('radio', { name: 'measure' }));
  await lab.getByRole('slider', { name: 'Pen radius' }).press('End');
  await act(lab, 'thick pen', how, () => drag(kspace, [0.46, 0.5], [0.54, 0.5]));
  report.drawn = { kspace: await image(lab, 0), image: await image(lab, 1) };
  const score = lab.locator('.mri-score'), words = async () => (await score.count() ? score.textContent() : '');
  report.scores = [await words()];
  await lab.screenshot({ path: `${shots}-score.png` });
  await press(lab.getByRole('button', { name: 'Measure nothing' }));
  await settled(lab);
  report.scores.push(await words());

  // files that are no picture, too large, of one colour: words; then a picture, dropped on the figure
  const svg = (width, height, inside) => Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${inside}</svg>`);
  const said = lab.locator('.mri-note[role="status"]'), { height, width } = report.drawn.image;
  const half = svg(2 * width, 2 * height, `<rect width="${width}" height="100%" fill="white"/>`);
  report.said = [];
  for (const [name, mimeType, buffer] of [['words.png', 'image/png', Buffer.from('no picture')], ['huge.svg', 'image/svg+xml', svg(9000, 9000, '')], ['even.svg', 'image/svg+xml', svg(90, 90, '')]]) {
    await lab.locator('input[type="file"]').setInputFiles({ name, mimeType, buffer });
    await said.getByText(name).waitFor();
    report.said.push(await said.textContent());
  }
  await press(lab.getByRole('radio', { name: 'all' }));
  await settled(lab);
  report.kept = await image(lab, 1);
  await act(lab, 'own picture', 'keyboard', async () => {
    await lab.evaluate((w, text) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([text], 'mine.svg', { type: 'image/svg+xml' }));
      w.dispatchEvent(new DragEvent('drop', { dataTransfer, cancelable: true }));
    }, half.toString());
    await said.getByText('mine.svg').waitFor();
  });
  await settled(lab);
  report.own = await image(lab, 1);
  await act(lab, 'The slice again', how, () => press(lab.getByRole('button', { name: 'The slice again' })));
  report.again = await image(lab, 1);
}

// two voxels and two coils
const unfolding = find('to unfold with two coils');
if (await unfolding.count()) {
  await everyControl(unfolding, []);
  await act(unfolding, 'folded pixel', how, () => drag(unfolding.locator('canvas').first(), [0.5, 0.5], [0.55, 0.85]));
  await act(unfolding, 'unfolded voxel', how, () => drag(unfolding.locator('canvas').nth(3), [0.5, 0.5], [0.45, 0.3]));
  for (const key of ['ArrowUp', 'ArrowLeft']) await act(unfolding, key, 'keyboard', () => unfolding.locator('canvas').nth(1).press(key));
  await unfolding.getByRole('slider').fill('60');
  await settled(unfolding);
  report.unfolded = { image: await image(unfolding, 3), g: await image(unfolding, 4), words: await unfolding.locator('.mri-facts').textContent() };
  await unfolding.screenshot({ path: `${shots}-unfolding.png` });
  await act(unfolding, 'both coils at one place', 'keyboard', () => unfolding.getByRole('slider').press('Home'));
  report.alike = await unfolding.locator('.mri-facts').textContent();
  report.unanswered = (await image(unfolding, 4)).values.filter(v => v === Infinity).length;
}

// one slice at many voxel sizes
const sized = find('voxel sizes from');
if (await sized.count()) {
  await everyControl(sized, []);
  for (const key of ['Home', 'PageUp', 'ArrowRight', 'End']) await act(sized, key, 'keyboard', () => sized.getByRole('slider').press(key));
  report.sized = { slice: await image(sized, 0), patch: await image(sized, 1), words: await sized.locator('.mri-facts').textContent() };
  await sized.screenshot({ path: `${shots}-voxel-size.png` });
}

// a field of scores: a point dragged and moved by keys, then its flow, then that of many
const field = find('let it flow');
if (await field.count()) {
  await everyControl(field, []);
  const plane = field.locator('canvas'), seen = () => plane.evaluate(c => c.lab), words = () => field.locator('.mri-facts').textContent();
  for (const key of ['ArrowUp', 'Shift+ArrowLeft']) await act(field, key, 'keyboard', () => plane.press(key));
  await field.getByRole('slider').fill('50');
  await act(field, 'point', how, () => drag(plane, [0.5, 0.5], [0.36, 0.4]));
  await settled(field);
  report.field = { image: await image(field, 0), box: await plane.evaluate(c => c.clientWidth), point: await seen(), words: await words() };
  await field.screenshot({ path: `${shots}-score-field.png` });
  for (const [name, control] of [['one', '▶ Let it flow'], ['many', '100 from noise']]) {
    await act(field, control, how, () => press(field.getByRole('button', { name: control })));
    await page.waitForFunction(() => [...document.querySelectorAll('.mri-pointed')].some(c => c.lab?.ends && c.lab.sigma === 0));
    report.field[name] = { ...await seen(), words: await words() };
    await field.screenshot({ path: `${shots}-score-${name}.png` });
  }
  await act(field, 'point after the flow', 'keyboard', () => plane.press('ArrowRight'));
  report.field.after = await seen();
  // whoever wants less motion sees the end at once
  await page.emulateMedia({ reducedMotion: 'reduce' });
  await act(field, 'flow without motion', 'keyboard', () => field.getByRole('button').first().press('Enter'));
  report.field.still = (await seen()).sigma;
  await page.emulateMedia({ reducedMotion: 'no-preference' });
}

// noise
const noise = find('noise levels and');
if (await noise.count()) {
  await everyControl(noise, []);
  await noise.screenshot({ path: `${shots}-noise.png` });
  await act(noise, 'chart', how, () => drag(noise.locator('.mri-chart canvas'), [0.6, 0.4], [0.95, 0.4]));
  report.noisy = await image(noise, 0);
}

// iterations
const player = find('iterations, with the PSNR');
if (await player.count()) {
  await everyControl(player, []);
  const play = player.getByRole('button');
  await act(player, 'chart', how, () => drag(player.locator('.mri-chart canvas'), [0.8, 0.4], [0.4, 0.4]));
  await act(player, 'play', how, () => press(play));
  if (await play.textContent() !== '▶ Play') await play.press('Enter');
  await player.screenshot({ path: `${shots}-iterations.png` });
}

// two results of a table
const board = find('choose two to compare');
if (await board.count()) {
  const cells = board.locator('td button:enabled');
  await board.screenshot({ path: `${shots}-comparison.png` });
  report.opened = await board.locator('.mri-facts').textContent();
  report.table = await board.locator('table').evaluate(table => ({
    groups: [...table.tBodies].map(body => [...body.rows].map(row => row.cells[0].innerText)),
    cells: [...table.querySelectorAll('td button:enabled')].map(cell => {
      const { backgroundColor: colour, borderStyle: border, fontWeight } = getComputedStyle(cell);
      return { words: cell.textContent, level: cell.querySelector('sup') !== null, bold: fontWeight === '700', border, colour };
    }),
  }));
  await everyControl(board, ['A', 'B']);
  const columns = await board.locator('tbody tr:has(button)').first().locator('button:enabled').count();
  for (const [side, n] of [['A', 1], ['B', 1 + columns]]) {        // one below the other: the same data
    await press(board.getByRole('radio', { name: side, exact: true }));
    await act(board, `cell for ${side}`, how, () => press(cells.nth(n)));
    await act(board, `cell for ${side}`, 'keyboard', async () => { await cells.nth(n).press('ArrowDown'); await page.keyboard.press('Enter'); });
  }
  const swipe = board.locator('canvas').first(), error = board.locator('canvas').last();
  await act(board, 'close-up', how, () => drag(error, [0.5, 0.5], [0.6, 0.4]));
  for (const key of ['ArrowLeft', 'ArrowUp']) await act(board, key, 'keyboard', () => error.press(key));
  await swipe.press('Home');
  for (let i = 0; i < 3; i++) await act(board, 'divider', 'keyboard', () => swipe.press('PageUp'));
  report.chosen = await cells.evaluateAll(all => Object.fromEntries(all.flatMap((cell, i) => [...cell.querySelectorAll('b')].map(b => [b.textContent, i]))));
  report.comparison = await board.locator('.mri-facts').textContent();
  report.divider = +await swipe.getAttribute('aria-valuenow') / 100;
  report.error = await image(board, 4);
  report.swiped = await swipe.evaluate(canvas => {                  // what is seen in the middle of each voxel of a row
    const { width, height } = canvas.image, y = Math.round(0.78 * height), context = canvas.getContext('2d');
    return { y, values: Array.from({ length: width }, (_, x) => context.getImageData(
      (x + 0.5) / width * canvas.width, (height - y - 0.5) / height * canvas.height, 1, 1).data[0]) };
  });
  await board.screenshot({ path: `${shots}-comparison-2.png` });
}

// the network
const net = find('denoised on demand');
if (await net.count()) {
  const complex = n => net.locator('canvas').nth(n).evaluate(({ complex: c }) => c && { re: [...c.re], im: [...c.im], height: c.height, width: c.width });
  report.opening = { sigma: JSON.parse(await net.getAttribute('data-input'))[0], input: await complex(0), answer: await image(net, 1),
    words: await net.locator('.mri-facts').textContent() };
  await net.screenshot({ path: `${shots}-network-opening.png` });
  await everyControl(net, []);
  await act(net, 'New noise', how, () => press(net.getByRole('button', { name: 'New noise' })));
  await act(net, 'run', how, async () => {
    await press(net.getByRole('button', { name: /Load and run/ }));
    await page.waitForFunction(() => document.querySelector('.mri[data-network]') || document.querySelector('.mri-error'), null, { timeout: 180000 });
  });
  report.sigma = JSON.parse(await net.getAttribute('data-input'))[0];
  [report.noisyInput, report.denoised] = [await complex(0), await complex(1)];
  report.networkMs = await net.getAttribute('data-network');
  await net.screenshot({ path: `${shots}-network.png` });
}

// priors on several scans, judged by meters and by the truth
const judged = find('and by the truth');
if (await judged.count()) {
  await everyControl(judged, []);
  report.judged = [];
  for (const [scan, prior] of [[0, 1], [-1, 1], [-1, -1]]) {
    const pressed = [['Voxel size of the scan', scan], ['Prior', prior]].map(([name, n]) => judged.getByRole('group', { name, exact: true }).getByRole('radio').nth(n));
    for (const radio of pressed) await press(radio);
    await settled(judged);
    report.judged.push({
      scan, prior,
      pictures: [await image(judged, 0), await image(judged, 1), await image(judged, 2)],
      captions: await judged.locator('figcaption').evaluateAll(all => all.map(c => [...c.children].map(part => part.textContent))),
      head: await judged.locator('thead th').allTextContents(),
      rows: await judged.locator('tbody tr').evaluateAll(all => all.map(row => ({
        chosen: row.ariaCurrent === 'true', cells: [...row.cells].map(cell => cell.textContent),
        bars: [...row.querySelectorAll('.mri-bar')].map(bar => bar.getBoundingClientRect().width) }))),
      words: await judged.locator('.mri-facts').textContent(),
    });
  }
  await judged.screenshot({ path: `${shots}-mismatch.png` });
}

// a reader study: answered to the end, by turns with the pointer and the keys, one answer taken back
const quiz = find('which is better');
if (await quiz.count()) {
  await everyControl(quiz, []);
  for (const name of ['Zoom', 'White at']) await quiz.getByRole('slider', { name }).press('End');
  await act(quiz, 'zoomed pictures', how, () => drag(quiz.locator('canvas').first(), [0.6, 0.5], [0.4, 0.6]));
  await act(quiz, 'zoomed pictures', 'keyboard', () => quiz.locator('canvas').nth(1).press('ArrowRight'));
  await quiz.getByRole('slider', { name: 'Zoom' }).press('Home');
  await quiz.getByRole('textbox').fill('simulated browser, the first');
  await quiz.getByRole('textbox').press('Tab');
  const count = quiz.locator('.mri-count'), total = await quiz.locator('progress').evaluate(p => p.max);
  report.quiz = { html: await quiz.evaluate(w => w.outerHTML), seen: [], counts: [] };
  await quiz.screenshot({ path: `${shots}-study.png` });
  await press(quiz.getByRole('button', { name: 'sure', exact: true }), { force: true });          // said to be disabled, yet it answers
  const answer = async (t, keys) => {
    const choice = ['A', 'equal', 'B'][t % 3], level = ['a guess', 'fairly sure', 'sure'][t % 2 + 1];
    if (keys) {
      await page.keyboard.press(choice[0].toLowerCase());
      return page.keyboard.press(String(t % 2 + 2));
    }
    await press(quiz.getByRole('button', { name: choice, exact: true }));
    await press(quiz.getByRole('button', { name: level, exact: true }));
  };
  for (let t = 0; t < total; t++) {
    report.quiz.counts.push(await count.textContent());
    await page.waitForTimeout(60);
    report.quiz.seen.push(await quiz.locator('canvas').evaluateAll(all => all.slice(0, 2).map(c => c.image.values.reduce((sum, v, i) => sum + v * (i % 251), 0))));
    if (t === 1) {
      await answer(0, true);
      await page.keyboard.press('Backspace');
    }
    await (t === total - 1 ? answer(t, true) : act(quiz, 'answer', t % 2 ? 'keyboard' : how, () => answer(t, t % 2)));
  }
  report.quiz.counts.push(await count.textContent());
  const save = quiz.getByRole('button', { name: 'Save' });
  const kept = () => page.evaluate(() => !window.dispatchEvent(new Event('beforeunload', { cancelable: true })));
  report.quiz.kept = [await kept()];
  report.quiz.focused = await save.evaluate(b => b === document.activeElement);
  const [download] = await Promise.all([page.waitForEvent('download'), phone ? save.tap() : save.press('Enter')]);
  report.quiz.kept.push(await kept());
  report.quiz.file = download.suggestedFilename();
  report.quiz.csv = readFileSync(await download.path(), 'utf8');
  await press(quiz.getByRole('button', { name: 'Show what I preferred' }));
  report.quiz.revealed = await quiz.locator('.mri-facts').textContent();
  await quiz.screenshot({ path: `${shots}-study-2.png` });
}

// what came over the line, in bytes: the page, its pictures, and what it shares with others
report.weight = await page.evaluate(() => {
  const [{ decodedBodySize: html }] = performance.getEntriesByType('navigation'), sum = { html, pictures: 0, shared: 0 };
  for (const { name, decodedBodySize } of performance.getEntriesByType('resource')) sum[name.includes('/_static/') ? 'shared' : 'pictures'] += decodedBodySize;
  return sum;
});
report.redraw = await page.locator('.mri').evaluateAll(all => all.map(w => [w.ariaLabel.slice(0, 30), +w.dataset.ms]));
report.errors = await page.locator('.mri-error').allTextContents();
report.wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
report.stillsShown = await page.locator('.mri-still:visible').count();
await page.addScriptTag({ path: axe });
report.axe = await page.evaluate(async () => (await window.axe.run('.mri', { preload: false })).violations
  .flatMap(v => v.nodes.map(n => `${v.impact} ${v.id}: ${n.html.slice(0, 150)}`)));
const sliders = page.locator('.mri input[type="range"]:enabled'), first = (await sliders.count() ? sliders : page.locator('.mri input:checked')).first();
await first.press('Home');
report.outline = await first.evaluate(s => s.matches(':focus-visible') && getComputedStyle(s.type === 'radio' ? s.nextElementSibling : s).outlineWidth);
await page.close();

// an old browser: words instead of the figure, and the still picture stays
const old = await open(() => { delete window.DecompressionStream; });
await old.page.waitForFunction(n => document.querySelectorAll('.mri-error').length === n, views);
report.old = { words: await old.page.locator('.mri-error').first().textContent(), stills: await old.page.locator('.mri-still img:visible').count() };
await old.page.close();

// one without WebAssembly: the same for the network alone
const plain = await open(() => { delete window.WebAssembly; });
await plain.page.waitForFunction(n => document.querySelectorAll('.mri-error').length + document.querySelectorAll('.mri:has(canvas)').length === n, views);
report.plain = { words: await plain.page.locator('.mri-error').allTextContents(), stills: await plain.page.locator('.mri-still img:visible').count() };
await chrome.close();
console.log(JSON.stringify({ ...report, views, moves, faults }));

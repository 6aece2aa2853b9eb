// Play with every widget of a page, the network cut off, by mouse and keyboard or by touch, and report what was drawn.
// usage: node play.mjs BROWSER URL WIDTH SHOTS > report.json
import { chromium } from 'playwright-core';
import { createRequire } from 'module';

const [browser, url, width, shots] = process.argv.slice(2);
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const phone = +width < 500;
const chrome = await chromium.launch({
  executablePath: browser,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
    '--disable-background-networking', '--disable-component-update',
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
});
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
  await page.goto(url, { waitUntil: 'load' });
  return { page, faults };
}

const { page, faults } = await open();
// the theme's floating button comes and goes above what a finger wants to reach
await page.addStyleTag({ content: 'html { scroll-behavior: auto !important; } #pst-back-to-top { display: none !important; }' });
const views = await page.locator('script[type="application/vnd.jupyter.widget-view+json"]').count();
await page.waitForFunction(n => document.querySelectorAll('.mri').length === n
  && [...document.querySelectorAll('.mri')].every(w => w.querySelector('canvas')?.image), views);
await page.waitForTimeout(300);

// everything a widget shows, as one number for each canvas
const pixels = widget => widget.evaluate(w => [...w.querySelectorAll('canvas')].map(c => {
  if (!c.width || !c.offsetWidth) return 0;
  let hash = 7;
  for (const v of new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)) hash = Math.imul(hash, 31) + v | 0;
  return hash;
}).join());
const moves = [];

async function act(widget, control, how, action) {
  const before = await pixels(widget);
  await action();
  let changed = false;
  for (let i = 0; i < 40 && !changed; i++) {
    changed = await pixels(widget) !== before;
    if (!changed) await page.waitForTimeout(50);
  }
  moves.push({ widget: await widget.getAttribute('aria-label'), control, how, changed });
}

async function press(target, options) {
  await target.scrollIntoViewIfNeeded();
  if (!phone) return target.click(options);
  await page.waitForTimeout(50);
  await target.tap(options);
}
const how = phone ? 'touch' : 'mouse';
const image = (widget, n) => widget.locator('canvas').nth(n).evaluate(({ image: i, width, height }) =>
  ({ values: [...i.values], height: i.height, width: i.width, spacing: i.spacing, drawn: [height, width] }));

async function everyControl(widget, passive) {
  for (const box of await widget.getByRole('checkbox').all()) {
    await act(widget, 'error', how, () => press(box));
    await act(widget, 'error', 'keyboard', () => box.press('Space'));
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
    const name = await slider.evaluate(s => s.labels[0].textContent);
    if (passive.includes(name) || await slider.isDisabled()) continue;
    const box = await slider.boundingBox();
    await act(widget, name, how, () => press(slider, { position: { x: 0.8 * box.width, y: box.height / 2 } }));
    await act(widget, name, 'keyboard', async () => { for (let i = 0; i < 4; i++) await slider.press('ArrowLeft'); await slider.press('PageDown'); });
  }
}

const find = text => page.locator(`.mri[aria-label*="${text}"]`);
const report = {};

// volumes: the picture itself, by pointer, wheel and keys
const viewer = find('in three planes');
report.axial = await image(viewer, 0);
await act(viewer, 'radio planes', how, () => press(viewer.getByRole('radio', { name: 'CG-SENSE' })));
const box = await viewer.locator('canvas').first().boundingBox();
await act(viewer, 'crosshair', how, () => press(viewer.locator('canvas').first(), { position: { x: 0.3 * box.width, y: 0.4 * box.height } }));
for (const key of ['ArrowUp', 'ArrowLeft', 'PageUp']) await act(viewer, key, 'keyboard', () => viewer.locator('canvas').first().press(key));
if (!phone) await act(viewer, 'wheel', 'mouse', async () => { await viewer.locator('canvas').first().hover(); await page.mouse.wheel(0, 100); });
await viewer.screenshot({ path: `${shots}-volumes.png` });
await everyControl(viewer, []);
report.viewerMs = await viewer.getAttribute('data-ms');

// k-space: drawn by hand, then cropped
const lab = find('choose what is measured');
await everyControl(lab, ['Pen radius', 'measure', 'skip', 'drawn']);
await press(lab.getByRole('radio', { name: 'centre' }));
await lab.getByRole('slider', { name: 'Noise' }).press('Home');
await lab.getByRole('slider', { name: 'Acceleration' }).press('End');
for (const axis of ['kz', 'ky']) {
  const slider = lab.getByRole('slider', { name: axis });
  await slider.press('Home');
  for (let i = 0; i < 20; i++) await slider.press('ArrowRight');          // 2 mm
}
const kspace = lab.locator('canvas').first(), area = await kspace.boundingBox();
await act(lab, 'pen', how, async () => {
  await kspace.scrollIntoViewIfNeeded();
  if (phone) return kspace.tap({ position: { x: 0.3 * area.width, y: 0.3 * area.height } });
  const now = await kspace.boundingBox();
  await page.mouse.move(now.x + 0.28 * now.width, now.y + 0.3 * now.height);
  await page.mouse.down();
  await page.mouse.move(now.x + 0.36 * now.width, now.y + 0.36 * now.height, { steps: 4 });
  await page.mouse.up();
});
await act(lab, 'pen moves', 'keyboard', () => kspace.press('Shift+ArrowRight'));
await page.waitForTimeout(200);
report.kspace = await image(lab, 0);
report.image = await image(lab, 1);
report.spread = await image(lab, 2);
report.kspaceMs = await lab.getAttribute('data-ms');
await lab.screenshot({ path: `${shots}-kspace.png` });
await press(lab.getByRole('radio', { name: 'skip' }));
await act(lab, 'pen draws', 'keyboard', async () => { for (let i = 0; i < 2; i++) await kspace.press('Shift+ArrowLeft'); await kspace.press(' '); });
await act(lab, 'Measure nothing', how, () => press(lab.getByRole('button', { name: 'Measure nothing' })));
report.nothing = await lab.locator('.mri-facts').textContent();

// noise and iterations
const noise = find('noise levels and');
await everyControl(noise, []);
await noise.screenshot({ path: `${shots}-noise.png` });
const chart = noise.locator('.mri-chart canvas'), chartBox = await chart.boundingBox();
await act(noise, 'chart', how, () => press(chart, { position: { x: 0.95 * chartBox.width, y: 80 } }));
report.noisy = await image(noise, 0);

const player = find('iterations, with the PSNR');
await everyControl(player, []);
const play = player.getByRole('button');
await act(player, 'play', how, () => press(play));
if (await play.textContent() !== '▶ Play') await play.press('Enter');
await player.screenshot({ path: `${shots}-iterations.png` });

// the network
const net = find('denoised on demand');
await everyControl(net, []);
await act(net, 'New noise', how, () => press(net.getByRole('button', { name: 'New noise' })));
await act(net, 'run', how, async () => {
  await press(net.getByRole('button', { name: /Load and run/ }));
  await page.waitForFunction(() => document.querySelector('.mri[data-input][data-ms]') || document.querySelector('.mri-error'), null, { timeout: 180000 });
});
report.sigma = JSON.parse(await net.getAttribute('data-input'))[0];
[report.noisyInput, report.denoised] = await net.locator('canvas').evaluateAll(cs => cs.slice(0, 2).map(({ complex: c }) => c
  && { re: [...c.re], im: [...c.im], height: c.height, width: c.width }));
report.networkMs = await net.getAttribute('data-ms');
await net.screenshot({ path: `${shots}-network.png` });

report.errors = await page.locator('.mri-error').allTextContents();
report.wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
report.stillsShown = await page.locator('.mri-still:visible').count();
await page.addScriptTag({ path: axe });
report.axe = await page.evaluate(async () => (await window.axe.run('.mri', { preload: false })).violations
  .flatMap(v => v.nodes.map(n => `${v.impact} ${v.id}: ${n.html.slice(0, 150)}`)));
await viewer.getByRole('slider').first().press('Home');
report.outline = await viewer.getByRole('slider').first().evaluate(s => s.matches(':focus-visible') && getComputedStyle(s).outlineWidth);
await page.close();

// an old browser: words instead of the figure, and the still picture stays
const old = await open(() => { delete window.DecompressionStream; });
await old.page.waitForFunction(n => document.querySelectorAll('.mri-error').length === n, views);
report.old = { words: await old.page.locator('.mri-error').first().textContent(), stills: await old.page.locator('.mri-still img:visible').count() };
await chrome.close();
console.log(JSON.stringify({ ...report, views, moves, faults }));

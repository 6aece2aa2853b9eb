// Answer the exercises of a page that ask for a prediction, on a phone, the network cut off. Report what came of it.
// usage: node predict.mjs BROWSER URL SHOTS > report.json
import { createRequire } from 'module';
import { launch } from './browser.mjs';

const [browser, url, shots] = process.argv.slice(2);
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const chrome = await launch(browser), report = { faults: [] };
const context = await chrome.newContext({ viewport: { width: 390, height: 844 } });

async function open(prepare, from = context) {
  const page = await from.newPage();
  page.on('pageerror', e => report.faults.push(String(e).slice(0, 300)));
  if (prepare) await page.addInitScript(prepare);
  await page.goto(url, { waitUntil: 'load' });
  return page;
}

// every solution from its title on: is it to be seen, is it open, what stands in the field above it
const solutions = page => page.locator('.solution').evaluateAll(all => all.map(solution => {
  const form = solution.previousElementSibling, { visibility } = getComputedStyle(solution);
  const content = solution.querySelector('section');
  return { seen: visibility === 'visible' && solution.offsetHeight > 20, open: getComputedStyle(content).visibility === 'visible',
    written: form.matches('.prediction') ? form.querySelector('textarea').value : null,
    asks: form.matches('.prediction') && form.offsetHeight > 0 };
}));
const first = page => page.getByLabel('Your prediction').first();

const page = await open();
report.predict = await page.locator('.exercise').evaluateAll(all => all.map(e => /^\s*Predict\b/.test(e.querySelector('section').innerText)));
report.before = await solutions(page);
report.barriers = [];
for (const colorScheme of ['light', 'dark']) {
  await page.emulateMedia({ colorScheme });
  await first(page).scrollIntoViewIfNeeded();
  await page.screenshot({ path: `${shots}-${colorScheme}.png` });
  if (colorScheme === 'light') await page.addScriptTag({ path: axe });
  report.barriers.push(...await page.evaluate(async () => (await window.axe.run('.prediction', { preload: false })).violations
    .flatMap(v => v.nodes.map(n => `${v.id}: ${n.html.slice(0, 160)}`))));
  report.grounds = [...report.grounds ?? [], await page.evaluate(() => getComputedStyle(document.body).backgroundColor)];
}
report.right = await page.locator('.prediction *').evaluateAll(parts => Math.max(...parts.map(p => p.getBoundingClientRect().right)));

await page.emulateMedia({ media: 'print' });
report.printed = await solutions(page);
await page.emulateMedia({ media: 'screen' });

// one is answered by keyboard, one is not
await first(page).focus();
await page.keyboard.type('(a) none');
await page.keyboard.press('Enter');
await page.keyboard.type('(b) half');
await page.keyboard.press('Tab');
report.button = await page.evaluate(() => document.activeElement.textContent);
await page.keyboard.press('Enter');
report.focused = await page.evaluate(() => document.activeElement.matches('.solution'));
const anyway = page.getByRole('button', { name: 'Show it anyway' });
report.unanswered = await anyway.count();
await anyway.first().click();
report.after = await solutions(page);
await page.waitForTimeout(400);               // the theme unfolds slowly
await page.screenshot({ path: `${shots}-open.png` });

const later = await open();
report.later = await solutions(later);
await first(later).fill('');
report.taken = await solutions(await open());

// a browser that stores nothing, and one without scripts
const forgetful = await open(() => {
  const { getItem } = Storage.prototype;
  const deny = function (key) { if (key.startsWith('mrilab')) throw new DOMException('denied', 'SecurityError'); return getItem.call(this, key); };
  Object.assign(Storage.prototype, { getItem: deny, setItem: deny, removeItem: deny });
});
await first(forgetful).fill('none');
await forgetful.getByRole('button', { name: 'Show the solution' }).click();
report.forgetful = await solutions(forgetful);
const plain = await open(null, await chrome.newContext({ javaScriptEnabled: false }));
report.plain = [await plain.locator('.prediction').count(), await plain.locator('.solution section:visible').count()];
report.still = [await plain.locator('.mri-still img:visible').count(), await plain.locator('.mri-still noscript p:visible').count()];
await chrome.close();
console.log(JSON.stringify(report));

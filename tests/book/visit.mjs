// Open pages in headless Chromium with the network cut off, and report what a reader would stumble over.
// usage: node visit.mjs BROWSER HTTP_ROOT FILE_ROOT < pages.json > report.json
import { readFileSync } from 'fs';
import { createRequire } from 'module';
import { launch } from './browser.mjs';

const [browser, ...roots] = process.argv.slice(2);
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const pages = JSON.parse(readFileSync(0, 'utf8'));
const chrome = await launch(browser);
const context = await chrome.newContext();

// Scripts draw formulas and widgets after the page has loaded.
const drawn = () => [...document.querySelectorAll('.math')].every(formula => formula.querySelector('mjx-container'))
  && [...document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]')]
    .every(view => view.parentElement.querySelector('.widget-subarea *'));

// Counts how far what a reader sees jumps while the page loads: the sum of all layout shifts, 0.1 at most for a good page.
const watch = () => {
  window.jumps = 0;
  new PerformanceObserver(seen => seen.getEntries().forEach(shift => { window.jumps += shift.value; }))
    .observe({ type: 'layout-shift', buffered: true });
};

// What can only be seen in the page: pictures, formulas, widgets, and where its links lead.
async function inspect() {
  const faults = [];
  for (const image of document.querySelectorAll('img')) {
    if (!image.alt.trim()) faults.push('image without alt text: ' + image.src.slice(0, 200));
    await image.decode().catch(() => faults.push('image does not load: ' + image.src.slice(0, 200)));
  }
  for (const formula of document.querySelectorAll('.math')) {
    if (!formula.querySelector('mjx-container')) faults.push('formula not typeset: ' + formula.textContent.slice(0, 80));
  }
  for (const fault of document.querySelectorAll('mjx-merror')) faults.push('formula with an error: ' + fault.textContent.slice(0, 80));
  for (const view of document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]')) {
    if (!view.parentElement.querySelector('.widget-subarea *')) faults.push('widget not drawn');
  }
  const links = [...document.querySelectorAll('a[href]')].map(a => a.href);
  return { faults, links, jumps: window.jumps };
}

// The smallest words of the figures in pixels, exponents aside; formulas that are cut off; how far the page slides sideways.
function fit() {
  const words = [...document.querySelectorAll('svg.plot text, svg.drawing text')].filter(text => text.textContent.trim());
  const sizes = words.map(text => {
    const { b, d } = text.getScreenCTM(), parts = text.querySelectorAll('tspan');
    const size = Math.max(...[...parts.length ? parts : [text]].map(part => parseFloat(getComputedStyle(part).fontSize)));
    return [size * Math.hypot(b, d), text.textContent];
  });
  const cut = [...document.querySelectorAll('.math mjx-math')].filter(formula =>
    formula.getBoundingClientRect().right > (formula.closest('p, li, dd, td, div.math') ?? document.body).getBoundingClientRect().right + 2);
  const { scrollWidth, clientWidth } = document.documentElement;
  return { smallest: sizes.sort((a, b) => a[0] - b[0])[0] ?? null, cut: cut.map(formula => formula.textContent), wide: scrollWidth - clientWidth };
}

// What shuts a reader out: contrast, names, roles, the keyboard.
async function audit(page) {
  await page.addScriptTag({ path: axe });
  const { violations } = await page.evaluate(() => window.axe.run({ preload: false }));
  return violations.filter(v => ['serious', 'critical'].includes(v.impact))
    .flatMap(v => v.nodes.map(n => `${v.impact} fault of accessibility, ${v.id}: ${n.html.slice(0, 160)}`));
}

async function visit(root, name) {
  const page = await context.newPage();
  const faults = [], loaded = new Set();
  await page.addInitScript(watch);
  page.on('request', r => { loaded.add(r.url()); if (!r.url().startsWith(root) && !/^(data|blob):/.test(r.url())) faults.push('request outside the book: ' + r.url()); });
  page.on('requestfailed', r => faults.push('request failed: ' + r.url()));
  page.on('response', r => { if (r.status() >= 400) faults.push(r.status() + ' ' + r.url()); });
  page.on('pageerror', e => faults.push('page error: ' + String(e).slice(0, 300)));
  page.on('console', m => { if (m.type() === 'error') faults.push(`console error: ${m.text().slice(0, 300)} (${m.location().url})`); });
  try {
    await page.goto(root + name, { waitUntil: 'networkidle', timeout: 60000 });
    await page.waitForFunction(drawn, null, { timeout: 60000 }).catch(() => {});    // inspect says what is missing
    const seen = await page.evaluate(inspect);
    const fits = {};
    for (const [width, height] of [[390, 844], [1280, 720]]) {
      await page.setViewportSize({ width, height });
      fits[width] = await page.evaluate(fit);
    }
    const barriers = root.startsWith('http') ? await audit(page) : [];      // the same page twice
    const inside = addresses => [...addresses].filter(a => a.startsWith(root)).map(a => a.slice(root.length));
    return { faults: [...faults, ...seen.faults, ...barriers], links: inside(seen.links), loaded: inside(loaded), jumps: seen.jumps, fits };
  } catch (e) {
    return { faults: [...faults, String(e).slice(0, 300)], links: [], loaded: [], jumps: 0, fits: null };
  } finally {
    await page.close();
  }
}

const report = {};
for (const name of pages) {
  const seen = await Promise.all(roots.map(root => visit(root, name)));
  report[name] = Object.fromEntries(seen.map((result, i) => [roots[i].split(':')[0], result]));
}
await chrome.close();
console.log(JSON.stringify(report));

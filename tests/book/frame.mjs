// Use what stands around a page's text, the network cut off: choose the colours, search. Report what came of it.
// usage: node frame.mjs BROWSER URL > report.json
import { launch } from './browser.mjs';

const [browser, url] = process.argv.slice(2);
const chrome = await launch(browser);
const page = await chrome.newPage({ viewport: { width: 1300, height: 900 }, colorScheme: 'light' });
await page.goto(url, { waitUntil: 'networkidle' });
const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const before = await ground();

// the newer theme has a menu, the older one goes from one mode to the next
await page.locator('.theme-switch-button:visible').click();
const dark = page.locator('.theme-change-button[data-mode="dark"]');
if (await dark.count()) await dark.first().click();
await page.waitForFunction(() => document.documentElement.dataset.theme === 'dark', null, { timeout: 5000 }).catch(() => {});
const after = await ground();

await page.keyboard.press('Control+k');
await page.keyboard.type('poisson');
await page.keyboard.press('Enter');
// results come one by one; the summary says when it is all of them
await page.waitForFunction(() => /finished|found/.test(document.querySelector('.search-summary')?.textContent ?? ''), null,
  { timeout: 20000 }).catch(() => {});
const found = await page.locator('#search-results li > a').evaluateAll(links => links.map(a => a.getAttribute('href').split(/[?#]/)[0]));
await chrome.close();
console.log(JSON.stringify({ before, after, found }));

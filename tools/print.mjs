// Print pages to PDF in headless Chromium, the network cut off, solutions unfolded.
// usage: node print.mjs BROWSER ROOT FOLDER < pages.json
import { readFileSync } from 'fs';
import { launch } from '../tests/book/browser.mjs';

const [browser, root, folder] = process.argv.slice(2);
const chrome = await launch(browser);
const page = await chrome.newPage();
const typeset = () => [...document.querySelectorAll('.math')].every(formula => formula.querySelector('mjx-container'));

for (const name of JSON.parse(readFileSync(0, 'utf8'))) {
  await page.goto(`${root}${name}.html`, { waitUntil: 'networkidle', timeout: 60000 });
  await page.waitForFunction(typeset, null, { timeout: 20000 });
  await page.evaluate(() => {
    document.documentElement.dataset.theme = 'light';
    document.querySelectorAll('details').forEach(part => { part.open = true; });
    document.querySelectorAll('.toggle-hidden').forEach(part => part.classList.remove('toggle-hidden'));
    document.querySelectorAll('img[loading=lazy]').forEach(image => { image.loading = 'eager'; });
  });
  await page.pdf({
    path: `${folder}/${name}.pdf`, format: 'A4', printBackground: true, scale: 0.8, outline: true, tagged: true,
    margin: { top: '16mm', bottom: '16mm', left: '14mm', right: '14mm' },
  });
}
await chrome.close();

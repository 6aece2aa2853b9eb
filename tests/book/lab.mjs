// Run a notebook in JupyterLab, move the controls of its widgets, and report what the page shows.
// usage: node lab.mjs BROWSER URL SHOT > report.json
import { launch } from './browser.mjs';

const [browser, url, shot] = process.argv.slice(2);
const chrome = await launch(browser);
const page = await chrome.newPage({ viewport: { width: 1280, height: 1400 } }), faults = [];
page.setDefaultTimeout(300000);        // importing torch takes a busy machine a while
page.on('pageerror', e => faults.push('page error: ' + String(e.stack).slice(0, 400)));
await page.goto(url);
await page.locator('.jp-NotebookPanel:visible .jp-Cell').first().waitFor();
await page.getByText('| Idle').waitFor();                                      // before, a click on Run is lost
await page.getByRole('menuitem', { name: 'Run', exact: true }).click();
await page.getByRole('menuitem', { name: 'Run All Cells', exact: true }).click();

const find = text => page.locator(`.mri[aria-label*="${text}"]`);
const lab = find('choose what is measured'), net = find('denoised on demand');
await lab.locator('canvas').first().waitFor();
await lab.getByRole('slider', { name: 'Acceleration' }).press('End');
await net.getByRole('button', { name: 'Run the network' }).click();
await page.waitForFunction(() => document.querySelector('.mri[data-network]') || document.querySelector('.mri-error'));
const [input, output] = await net.locator('canvas').evaluateAll(cs => cs.slice(0, 2).map(({ complex: c }) => c && [[...c.re], [...c.im]]));
const { sigma, shape } = await net.evaluate(w => { const [sigma, ...shape] = JSON.parse(w.dataset.input); return { sigma, shape }; });
const quiz = find('which is better');
await quiz.getByRole('button', { name: 'A', exact: true }).click();
await page.keyboard.press('3');
await quiz.getByText('Everything is answered').first().waitFor();
await page.locator('.widget-hslider [role="slider"]').press('End');           // ipywidgets' own, of interact
await page.getByText('Python heard 7').waitFor();
const errors = await page.locator('.mri-error').allTextContents();
await page.screenshot({ path: shot });
await chrome.close();
console.log(JSON.stringify({ faults, errors, sigma, shape, input, output }));

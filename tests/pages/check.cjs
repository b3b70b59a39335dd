// Opens the pages of `isthmus map` in a headless Chromium: meshes of 3, 30 and 1,000 members, in
// light, dark and print, one of which is of hostile names. Fails on anything in the console, any
// request but for the page itself, any violation that axe-core finds, and what cannot be reached
// by keyboard. Leaves screenshots to be looked at.
//
//   node tests/pages/check.cjs target/debug/isthmus target/pages

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const { chromium } = require('playwright-core');

const [binary, out] = process.argv.slice(2).map((given) => path.resolve(given));
const failures = [];
const check = (holds, told) => {
  if (!holds) failures.push(told);
};

const HOSTILE = '</title><script>document.title=1</script>"\' onload=x \u202e';

// A mesh of so many members: networks of several kinds, both families, clashes, observed facts.
function mesh(count, hostile) {
  const objects = [
    {
      apiVersion: 'deckhouse.io/v1',
      kind: 'ClusterConfiguration',
      metadata: { name: 'local' },
      clusterDomain: 'cluster.local',
      podSubnetCIDR: '10.111.0.0/16',
      serviceSubnetCIDR: '10.222.0.0/16',
    },
  ];
  const regions = ['eu-west', 'us-east', 'ap-south', 'eu-north', 'sa-east'];
  for (let at = 1; at < count; at += 1) {
    const name = `${regions[at % 5]}-${at}${hostile ? HOSTILE : ''}`;
    const [third, length] = count < 60 ? [0, 16] : [(at % 16) * 16, 20];
    const pods = at === 2 ? '10.111.64.0/18' : `10.${(at * 2) % 110}.${third}.0/${length}`;
    const spec = {
      clusterDomain: at === 3 ? 'other.example' : 'cluster.local',
      podSubnets: at % 4 === 0 ? [pods, `fd00:10:${at.toString(16)}::/56`] : [pods],
      serviceSubnets: [`172.${16 + (at % 16)}.${(Math.floor(at / 16) * 4) % 256}.0/22`],
    };
    if (at % 5 === 0) spec.network = hostile ? HOSTILE : `vpc-${at % 4}`;
    const member = { apiVersion: 'isthmus.dev/v1alpha1', kind: 'MeshMember', metadata: { name }, spec };
    if (at % 2 === 0) {
      const uid = `00000000-0000-4000-8000-${String(at).padStart(12, '0')}`;
      const fact = (value) => ({ value, from: 'flag --domain of istiod', exact: true, at: '2026-01-01T00:00:00Z' });
      member.status = { observed: { uid: fact(uid), clusterDomain: fact('cluster.local') } };
    }
    objects.push(member, {
      apiVersion: 'deckhouse.io/v1alpha1',
      kind: 'IstioMulticluster',
      metadata: { name },
      spec: {
        metadataEndpoint: `https://istio.c${at}.example.com/metadata/`,
        enableIngressGateway: at % 3 === 0,
      },
    });
  }
  return objects.map((object) => JSON.stringify(object)).join('\n---\n');
}

// What Tab reaches, and whether a member's facts open by keyboard.
async function keyboard(page, told) {
  await page.keyboard.press('Tab');
  const first = await page.evaluate('document.activeElement.textContent');
  check(first === 'Skip to the content', `${told}: Tab reaches ${JSON.stringify(first)} first`);
  await page.locator('tbody summary').first().focus();
  await page.keyboard.press('Enter');
  const facts = await page.locator('tbody details[open] li').count();
  check(facts > 0, `${told}: Enter opens no facts`);
  const stuck = await page.evaluate(
    '[...document.querySelectorAll(".scroll")].filter((part) => part.scrollWidth > part.clientWidth && part.tabIndex !== 0).length',
  );
  check(stuck === 0, `${told}: ${stuck} parts can be scrolled by a pointer only`);
}

async function look(browser, name, file, mode) {
  const told = `${name} in ${mode}`;
  const scheme = mode === 'dark' ? 'dark' : 'light';
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: scheme });
  const page = await context.newPage();
  page.on('console', (message) => check(false, `${told}: the console says ${message.text()}`));
  page.on('pageerror', (error) => check(false, `${told}: ${error}`));
  page.on('request', (request) => {
    check(request.url() === `file://${file}`, `${told}: requests ${request.url()}`);
  });
  if (mode === 'print') await page.emulateMedia({ media: 'print' });
  await page.goto(`file://${file}`);
  const height = await page.evaluate('document.documentElement.scrollHeight');
  check(height > 500, `${told}: the page is empty`);
  const ground = await page.evaluate('getComputedStyle(document.body).backgroundColor');
  const expected = mode === 'dark' ? 'rgb(13, 17, 23)' : 'rgb(255, 255, 255)';
  check(ground === expected, `${told}: the ground is ${ground}`);
  const scripts = await page.evaluate('document.scripts.length');
  check(scripts === 0, `${told}: ${scripts} scripts`);
  const clip = { x: 0, y: 0, width: 1280, height: Math.min(height, 3000) };
  await page.screenshot({ path: path.join(out, `${name}-${mode}.png`), clip, fullPage: true });
  if (mode !== 'print') {
    if (name !== '1000' || mode === 'light') {
      await page.evaluate(axe);
      const { violations } = await page.evaluate('axe.run(document, { resultTypes: ["violations"] })');
      for (const { id, nodes } of violations) {
        check(false, `${told}: axe finds ${id} at ${nodes[0].html.slice(0, 200)}`);
      }
    }
    await keyboard(page, told);
  }
  await context.close();
  process.stdout.write(`${told}: ${height} px\n`);
}

async function main() {
  fs.mkdirSync(out, { recursive: true });
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    // There is no sandbox within most containers; the pages are ours.
    args: ['--no-sandbox'],
  });
  for (const [name, count] of [['3', 3], ['30', 30], ['1000', 1000], ['hostile', 30]]) {
    const text = mesh(count, name === 'hostile');
    const page = execFileSync(binary, ['map', '-', '--format', 'html'], { input: text, maxBuffer: 1 << 28 });
    const file = path.join(out, `${name}.html`);
    fs.writeFileSync(file, page);
    for (const mode of ['light', 'dark', 'print']) await look(browser, name, file, mode);
  }
  await browser.close();
  for (const failure of failures) process.stderr.write(`${failure}\n`);
  process.exitCode = failures.length > 0 ? 1 : 0;
}

main();

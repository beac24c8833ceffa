// Says at the install what would be missing later, and puts the binary itself in the place of what would start it, so that
// signals and exit codes have no Node.js to pass through.
const { copyFileSync, linkSync, renameSync, rmSync } = require('node:fs');
const { join } = require('node:path');

const { binary } = require('./binary.js');

let file;
try {
  file = binary();
} catch (error) {
  console.error(`botfarm: ${error.message}`);
  process.exit(1);
}
// Windows starts a script by its name, and nothing else; other package managers have looked at the file already.
if (process.platform !== 'win32' && process.env.npm_config_user_agent?.startsWith('npm/')) {
  const [place, part] = [join(__dirname, 'botfarm.js'), join(__dirname, `botfarm.${process.pid}`)];
  try {
    try {
      linkSync(file, part);
    } catch {
      copyFileSync(file, part);
    }
    renameSync(part, place);
  } catch {
    // The script does, too.
    rmSync(part, { force: true });
  }
}

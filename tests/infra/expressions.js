// Evaluates expressions with AWS's version of JSONata: node expressions.js FOLDER_OF_THE_PACKAGE
// Takes a line with all expressions, then one with variables for each evaluation of them all.
// Answers each of those with a list: [value], or [] where there is none.
const jsonata = require(process.argv[2]);

async function main() {
  let expressions;
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    const given = JSON.parse(line);
    if (!expressions) {
      expressions = given.map((text) => jsonata(text));
      continue;
    }
    const bindings = { ...given, millis: () => given.millis, parse: JSON.parse, random: () => 0.25 };
    const outcome = (value) => (value === undefined ? [] : [value]);
    const values = expressions.map((each) => each.evaluate(undefined, bindings).then(outcome, () => []));
    console.log(JSON.stringify(await Promise.all(values)));
  }
}

main();

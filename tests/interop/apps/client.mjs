// Node's fetch as a client: `node client.mjs get|many|stream|upload URL X-FAULT MILLISECONDS COUNT`. Prints JSON, or the
// body as it comes, and for what failed {"error": the code of its cause, or its name}.

const [work, url, fault, limit, count] = process.argv.slice(2);
const options = {headers: fault ? {"x-fault": fault} : {}, signal: AbortSignal.timeout(Number(limit))};

async function get() {
  const answer = await fetch(url, options);
  const body = Buffer.from(await answer.arrayBuffer()).toString("base64");
  return {status: answer.status, retry_after: answer.headers.get("retry-after"), body};
}

async function many() {
  const answers = [];
  for (let number = 0; number < Number(count); number++) answers.push(await (await fetch(url, options)).json());
  return answers;
}

async function stream() {
  const answer = await fetch(url, options);
  for await (const piece of answer.body) process.stdout.write(piece);
}

async function upload() {
  async function* pieces() {
    for await (const piece of process.stdin) yield piece;
  }
  return (await fetch(url, {...options, method: "POST", body: pieces(), duplex: "half"})).json();
}

try {
  const said = await {get, many, stream, upload}[work]();
  if (said) console.log(JSON.stringify(said));
} catch (error) {
  console.log(JSON.stringify({error: error.cause?.code ?? error.name}));
}

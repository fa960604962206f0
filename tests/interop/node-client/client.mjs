// toxiproxy-node-client, as test_toxiproxy_clients.py drives it: a command a line, as JSON, and an answer to each.
//
//   node client.mjs FOLDER URL      the folder that has node_modules, and the API's address

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [folder, url] = process.argv.slice(2);
const { Toxiproxy } = createRequire(`${folder}/`)("toxiproxy-node-client");
const client = new Toxiproxy(url);

const describe = ({ listen, enabled }) => ({ listen, enabled });

const commands = {
  version: () => client.getVersion(),
  create: async ({ name, listen, upstream }) => describe(await client.createProxy({ name, listen, upstream })),
  populate: async ({ proxies }) => Object.keys(await client.populate(proxies)),
  read: async ({ name }) => describe(await client.get(name)),
  list: async () => Object.keys(await client.getAll()),
  add: async ({ name, type, stream, attributes }) => {
    const proxy = await client.get(name);
    const toxic = await proxy.addToxic({ name: `${type}_${stream}`, type, stream, toxicity: 1, attributes });
    return toxic.name;
  },
  update: async ({ name, toxic, attributes }) => {
    const found = await (await client.get(name)).getToxic(toxic);
    return (await found.update({ toxicity: 1, attributes })).name;
  },
  remove: async ({ name, toxic }) => (await (await client.get(name)).getToxic(toxic)).remove(),
  disable: async ({ name }) => describe(await (await client.get(name)).update({ ...(await body(name)), enabled: false })),
  enable: async ({ name }) => describe(await (await client.get(name)).update({ ...(await body(name)), enabled: true })),
  reset: () => client.reset(),
  delete: async ({ name }) => (await client.get(name)).remove(),
};

async function body(name) {
  const { listen, upstream } = await client.get(name);
  return { listen, upstream };
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = { done: (await commands[command.do](command)) ?? null };
  } catch (error) {
    answer = { failed: `${error.name}: ${error.message}` };
  }
  console.log(JSON.stringify(answer));
}

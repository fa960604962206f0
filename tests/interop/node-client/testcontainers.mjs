// Testcontainers' Toxiproxy module with squall's image in place of Toxiproxy's.
//
//   node testcontainers.mjs FOLDER IMAGE      the folder that has node_modules
//
// The API itself is the upstream of a proxy, so that no second container is needed.

import assert from "node:assert";
import { createRequire } from "node:module";

const [folder, image] = process.argv.slice(2);
const { ToxiProxyContainer } = createRequire(`${folder}/`)("@testcontainers/toxiproxy");

const container = await new ToxiProxyContainer(image).start();
try {
  const proxy = await container.createProxy({ name: "api", upstream: "127.0.0.1:8474" });
  const version = async () => (await fetch(`http://${proxy.host}:${proxy.port}/version`)).json();
  assert.deepEqual(await version(), { version: "2.12.0" });
  const toxic = await proxy.instance.addToxic({
    name: "late",
    type: "latency",
    stream: "downstream",
    toxicity: 1,
    attributes: { latency: 300, jitter: 0 },
  });
  const began = performance.now();
  await version();
  assert(performance.now() - began > 300);
  await toxic.remove();
  await proxy.setEnabled(false);
  await assert.rejects(version());
  console.log("well");
} finally {
  await container.stop();
}

// Asks a service with OpenAI's JavaScript client and prints what it got as one line of JSON: node ask.mjs URL KEY QUESTION
import OpenAI from "openai";

const [url, key, question] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const asked = { model: "citewell", messages: [{ role: "user", content: question }] };

async function refused(body) {
  try {
    await client.chat.completions.create({ ...asked, ...body });
  } catch (err) {
    return { status: err.status, type: err.type, message: err.message };
  }
  return {};
}

const plain = await client.chat.completions.create({
  ...asked,
  n: 1,
  stop: ["\u0000"],
  seed: 7,
  logprobs: false,
  tool_choice: "none",
  store: true,
});
const message = plain.choices[0].message;
let streamed = "";
let usage = null;
for await (const chunk of await client.chat.completions.create({
  ...asked,
  stream: true,
  stream_options: { include_usage: true },
})) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
const again = await client.chat.completions.create({
  ...asked,
  messages: [...asked.messages, message, ...asked.messages],
});
const models = (await client.models.list()).data.map((model) => model.id);
const model = (await client.models.retrieve("citewell")).id;
const missing = await client.models.retrieve("gpt-4o").catch((err) => ({ status: err.status, code: err.code }));
const elsewhere = await client.embeddings
  .create({ model: "m", input: "x" })
  .catch((err) => ({ status: err.status, message: err.message }));
const parsed = await client.chat.completions.parse({ ...asked, response_format: { type: "text" } });

console.log(
  JSON.stringify({
    plain: message.content,
    annotations: message.annotations.length,
    streamed,
    usage,
    again: again.choices[0].message.content,
    models,
    model,
    missing,
    elsewhere,
    parsed: parsed.choices[0].message.content,
    tools: await refused({ tools: [{ type: "function", function: { name: "f", parameters: {} } }] }),
    picture: await refused({
      messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "data:," } }] }],
    }),
  }),
);

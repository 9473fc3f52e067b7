// OpenAI's client for JavaScript against semcache: only the base URL is new.
//
// npm install openai

import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.SEMCACHE_BASE_URL ?? "http://127.0.0.1:8080/v1",
  apiKey: process.env.SEMCACHE_API_KEY ?? "unused",
});
for (let asked = 0; asked < 2; asked++) {
  const { data, response } = await client.chat.completions
    .create({ model: "fast", messages: [{ role: "user", content: "How do I reset my password?" }] })
    .withResponse();
  console.log(response.headers.get("x-cache-status"), data.choices[0].message.content);
}

"""OpenAI's Agents SDK against semcache: its model gets a client with another base URL.

pip install openai-agents
"""

import asyncio
import os
from typing import Any

from agents import Agent, OpenAIChatCompletionsModel, Runner, set_tracing_disabled
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

set_tracing_disabled(True)  # Traces go to OpenAI, with the prompts.


async def show(response: Any) -> None:
    print(response.headers["x-cache-status"], end=" ")


async def main() -> None:
    client = AsyncOpenAI(
        base_url=os.environ.get("SEMCACHE_BASE_URL", "http://127.0.0.1:8080/v1"),
        api_key=os.environ.get("SEMCACHE_API_KEY", "unused"),
        http_client=DefaultAsyncHttpxClient(event_hooks={"response": [show]}),
    )
    model = OpenAIChatCompletionsModel(model="fast", openai_client=client)
    agent = Agent(name="helpdesk", instructions="Answer in one sentence.", model=model)
    for _ in range(2):
        result = await Runner.run(agent, "How do I reset my password?")
        print(result.final_output)


asyncio.run(main())

"""The part of the command line that uses what a run left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fltac.errors import InputError, Problem
from fltac.screen import answers as said
from fltac.screen import say

app = typer.Typer()

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")]
Texts = Annotated[list[str] | None, typer.Option("--text", help="A text; the two of a pair one after the other.")]
Images = Annotated[list[Path] | None, typer.Option("--image", metavar="FILE", help="An image.")]
Prompts = Annotated[list[str] | None, typer.Option("--prompt", help="A whole prompt, in place of the task's template.")]
Values = Annotated[list[str] | None, typer.Option("--set", metavar="COLUMN=VALUE", help="One row, by its columns.")]
Many = Annotated[Path | None, typer.Option("--file", help="Many rows: .parquet, .csv, .json or .jsonl.")]
Machine = Annotated[bool, typer.Option("--json", help="A JSON object a line.")]


@app.command()
def predict(
    folder: Run,
    task: Annotated[str, typer.Option(help="Whose adapter and head answer.")],
    text: Texts = None,
    image: Images = None,
    prompt: Prompts = None,
    values: Values = None,
    file: Many = None,
    machine: Machine = False,
) -> None:
    """Answer with the adapter of the cluster that holds most of a task, and its head: a class, or a text, a row."""
    from fltac.answering import predict
    from fltac.given import Given

    given = Given(text or (), image or (), prompt or (), values or (), file)
    said.predictions(*predict(folder, task, given), machine)


@app.command()
def route(
    folder: Run,
    text: Texts = None,
    image: Images = None,
    prompt: Prompts = None,
    file: Many = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--input", help="Of the file, a column that goes in; all but --label where none is named."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Of the file, the column of answers, where they are known.")] = None,
    classes: Annotated[str, typer.Option(help="All classes in order, a,b,c; or how many there are.")] = "",
    join: Annotated[bool, typer.Option("--join", help="Train an adapter on them, and place it.")] = False,
    machine: Machine = False,
) -> None:
    """Find the cluster that suits a few examples without a task's name; best first."""
    from fltac.given import Given
    from fltac.routing import route

    given = Given(text or (), image or (), prompt or (), (), file)
    names = [str(n) for n in range(int(classes))] if classes.isdecimal() else [n for n in classes.split(",") if n]
    said.routes(route(folder, given, columns or (), label, names, join), machine)


@app.command()
def judge(
    folder: Run,
    endpoint: Annotated[str, typer.Option(metavar="URL", help="Of a chat-completions API: https://HOST/v1")],
    model: Annotated[str, typer.Option(metavar="NAME", help="The model that scores.")],
    key_env: Annotated[str | None, typer.Option(metavar="VAR", help="Environment variable with the key.")] = None,
    usd_in: Annotated[float | None, typer.Option(min=0, help="Price of a million tokens in; 0: your own.")] = None,
    usd_out: Annotated[float | None, typer.Option(min=0, help="Price of a million tokens out.")] = None,
    limit: Annotated[float, typer.Option(min=0, help="Dollars beyond which --yes is needed.")] = 1.0,
    tokens_out: Annotated[int, typer.Option(min=1, help="Tokens that an answer may have.")] = 64,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 60.0,
    yes: Annotated[bool, typer.Option("--yes", help="Whatever it costs.")] = False,
) -> None:
    """Have a language model score the answers that a run wrote, from 1 to 10; a killed one goes on."""
    from fltac.llm_judge import Judge

    judge = Judge(folder, endpoint, model, key_env, tokens_out)
    cost = judge.cost(usd_in, usd_out)
    price = "unknown: give --usd-in and --usd-out" if cost.usd is None else f"{cost.usd:.2f} USD"
    say(f"{cost.answers} answers, about {cost.tokens_in:,} tokens in, at most {cost.tokens_out:,} out, cost {price}")
    if cost.answers and not yes and (cost.usd is None or cost.usd > limit):
        what = "is needed beyond --limit, and where the price is unknown (0 for a server of your own)"
        raise InputError(Problem("--yes", what, cost.usd), "command line")
    for done, _ in enumerate(judge.score(timeout), start=1):
        if done % 20 == 0:
            say(f"{done} of {cost.answers}")
    said.judged(judge.conclude())

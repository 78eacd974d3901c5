"""`citewell engine`: the vLLM command that fits."""

from typing import Annotated

import typer

from service.cli.command import DEFAULT_CONFIG, ConfigOption, JsonOption, command, note, print_json


@command
def engine(
    profile: Annotated[
        str, typer.Option(help="Longest context: chat, document, log or book; llm.profile if empty.")
    ] = "",
    load: Annotated[
        str, typer.Option(help="The main kind of load: questions, documents or conversations.")
    ] = "questions",
    model: Annotated[str, typer.Option(help="Folder or hub name of the weights; llm.model when empty.")] = "",
    gpus: Annotated[int | None, typer.Option(min=1, help="Number of GPUs; those of this machine if not given.")] = None,
    gpu_memory: Annotated[
        float | None, typer.Option(min=1, help="Memory of each GPU in GiB; this machine's if not given.")
    ] = None,
    parallel: Annotated[str, typer.Option(help="auto, tensor or data.")] = "auto",
    quantization: Annotated[str, typer.Option(help="none, fp8, awq, gptq or int8.")] = "none",
    fp8_cache: Annotated[bool, typer.Option("--fp8-cache", help="Keep the KV cache in 8 bits.")] = False,
    memory_share: Annotated[float, typer.Option(min=0.1, max=0.99, help="Share of the GPUs' memory to use.")] = 0.92,
    fast_load: Annotated[bool, typer.Option("--fast-load", help="Load weights with fastsafetensors.")] = False,
    host: Annotated[str, typer.Option(help="Address that vLLM listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the first process.")] = 8001,
    run: Annotated[bool, typer.Option("--run", help="Run it instead of printing it.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Print, or run, the vLLM command that fits the model, the GPUs and the profile, and say why.

    Weights and KV cache are reckoned first, and what does not fit is refused with the arithmetic.
    """
    from service.settings.load import load_settings
    from service.vllm.launch import run as engine_command
    from service.vllm.launch.plan import plan
    from service.vllm.launch.shape import read_shape
    from service.vllm.launch.wish import wish_of

    settings = load_settings(config)
    found = engine_command.gpus_here() if gpus is None or gpu_memory is None else None
    weights = model or settings.llm.model
    wish = wish_of(
        {"load": load, "parallel": parallel, "quantization": quantization},
        model=weights,
        served_name=settings.llm.model,
        shape=read_shape(weights),
        gpus=gpus or (found.count if found else 1),
        gpu_gib=gpu_memory or (found.gib if found else 0),
        profile=profile or settings.llm.profile,
        fp8_cache=fp8_cache,
        memory_share=memory_share,
        fast_load=fast_load,
        host=host,
        port=port,
        cache_folder=str(settings.data_dir / "vllm"),
    )
    made = plan(wish)
    if as_json:
        engines = [{"arguments": e.arguments, "environment": e.environment, "url": e.url} for e in made.engines]
        print_json({"engines": engines, "reasons": made.reasons, "figures": made.figures})
    else:
        for reason in made.reasons:
            note(f"# {reason}")
    if run:
        raise typer.Exit(engine_command.run(made))
    if not as_json:
        print("\n".join(each.shell() for each in made.engines))

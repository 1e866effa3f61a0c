"""Every command: its name, a line of help, and where its function is. What is said of commands is made from this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

__all__ = ["COMMANDS", "Command", "commands_page"]


@dataclass(frozen=True)
class Command:
    """A command of ``qtorch``.

    Attributes:
        name: the word that calls it.
        help: what it does, in a line.
        function: ``module:name`` of what takes the words behind its name; imported only when it is called.
    """

    name: str
    help: str
    function: str

    def load(self) -> Callable[[Sequence[str]], None]:
        """The function."""
        module, _, name = self.function.partition(":")
        function: Callable[[Sequence[str]], None] = getattr(import_module(module), name)
        return function


#: In the order of a project's life; a command is one line here and one function.
COMMANDS: Mapping[str, Command] = {
    each.name: each
    for each in (
        Command("fit", "train and quantize the network that a YAML file names", "export.pipeline.training:fit_command"),
        Command("validate", "figures on the validation data", "export.pipeline.training:validate_command"),
        Command("test", "figures on the test data", "export.pipeline.training:test_command"),
        Command("predict", "outputs for data of one's own", "export.pipeline.training:predict_command"),
        Command("export", "a checkpoint to the files of a device", "export.commands.export:export_command"),
        Command(
            "quantize",
            "a float checkpoint from elsewhere, without training",
            "export.commands.quantize:quantize_command",
        ),
        Command("compile", "plain C of any integer .tflite file, proven", "export.commands.compile:compile_command"),
        Command("verify", "repeat the parity check of a model file", "export.commands.verify:verify_command"),
        Command("profile", "what an inference takes, layer by layer", "export.commands.profile:profile_command"),
        Command("summary", "what stands in a .tflite file", "export.commands.summary:summary_command"),
        Command("lint", "what a board's TFLite Micro would compute otherwise", "export.commands.lint:lint_command"),
        Command("compare", "what other engines and converters say", "export.commands.compare:compare_command"),
        Command(
            "sensitivity",
            "what each layer's quantization costs",
            "export.commands.sensitivity:sensitivity_command",
        ),
        Command("support", "what can be exported", "export.commands.support:support_command"),
        Command("recipe", "list the shipped recipes, run one, copy one", "export.pipeline.recipes:recipe_command"),
    )
}


def commands_page(program: str) -> str:
    """What ``--help`` prints: a line for each command.

    Args:
        program: as it was called.
    """
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {each.name:<{width}}{each.help}" for each in COMMANDS.values()]
    usage = f"usage: {program} COMMAND ..."
    about = "Quantization-aware training in PyTorch, exported to TensorFlow Lite Micro bit for bit."
    return "\n".join([usage, "", about, "", "commands:", *lines, "", f"{program} COMMAND --help says more of each."])

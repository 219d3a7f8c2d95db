"""From the setting `task` to a Task and its data. Foreign code is called here: whatever goes wrong in it
becomes a ConfigError that names its cause."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import cast

import torch
from torch import nn

from marfl_peer.errors import ConfigError
from marfl_peer.learning.seeds import seed_of
from marfl_peer.learning.tasks.base import TASK_METHODS, Task, TaskData

# Named, not imported: a peer that trains another task need not hold scikit-learn in memory.
TASKS = {
    "digits": "marfl_peer.learning.tasks.digits:Digits",
    "mnist": "marfl_peer.learning.tasks.mnist:Mnist",
    "20news": "marfl_peer.learning.tasks.newsgroups:with_encoder",
}
OF_TEXTS = ("20news",)
"""Tasks whose factory takes the settings `encoder` and `data_dir`."""


def load_task(name: str, *, encoder: str = "hashing", data_dir: Path | None = None, folder: Path | None = None) -> Task:
    """The task of a name in `TASKS`, or what the factory `package.module:factory` makes.

    A task of texts gets the `encoder` of the settings, which may lie in `data_dir`. Modules are looked for in `folder`
    (default: the current one) too, after Python's search path.
    Raises: ConfigError saying why there is no such task.
    """
    module_name, colon, attribute = TASKS.get(name, name).partition(":")
    if not colon or not module_name or not attribute:
        raise ConfigError("task", name, f"choose one of {', '.join(TASKS)}, or write package.module:factory")
    module = _import(name, module_name, str((folder or Path()).absolute()))
    factory = getattr(module, attribute, None)
    if factory is None:
        raise ConfigError("task", name, f"{module.__name__} ({_file(module)}) has no {attribute!r}: check the name")
    if not callable(factory):
        raise ConfigError("task", name, f"{attribute!r} cannot be called: name a function that returns a task")
    try:
        task = factory(encoder, data_dir) if name in OF_TEXTS else factory()
    except ConfigError:
        raise
    except Exception as error:  # foreign code may raise anything
        raise ConfigError("task", name, f"its factory raised {_cause(error)}: correct it") from error
    return _checked(name, task)


def load_data(task: Task, data_dir: Path | None) -> TaskData:
    """`task.load(data_dir)`. Raises: ConfigError, also for what an own task raises or returns amiss."""
    try:
        data = task.load(data_dir)
    except ConfigError:
        raise
    except Exception as error:  # foreign code may raise anything
        raise ConfigError("task", task.name, f"loading its data raised {_cause(error)}") from error
    if not isinstance(data, TaskData):
        raise ConfigError("task", task.name, f"load() returned {type(data).__name__}: it must return a TaskData")
    return data


def build_initial_model(task: Task, seed: int) -> nn.Module:
    """The model that training starts from: the same bits for the same seed and version of torch.

    The caller's own random state is left as it was. Raises: ConfigError if there is no model to train.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("initial model", seed))
        try:
            model = task.build_model()
        except ConfigError:
            raise
        except Exception as error:  # foreign code may raise anything
            raise ConfigError("task", task.name, f"build_model() raised {_cause(error)}") from error
    if not isinstance(model, nn.Module):
        raise ConfigError("task", task.name, f"build_model() returned {type(model).__name__}, not a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("task", task.name, "its model has no parameter to train")
    return model


def _import(task_name: str, module_name: str, folder: str) -> ModuleType:
    if folder not in sys.path:
        # At the end: a file of the user's must not take the place of an installed module.
        sys.path.append(folder)
    try:
        return importlib.import_module(module_name)
    except Exception as error:  # foreign code may raise anything
        remedy = f"module {module_name!r} does not import: {_cause(error)}; it is looked for in {folder} too"
        raise ConfigError("task", task_name, remedy) from error


def _checked(name: str, task: object) -> Task:
    if isinstance(task, type):
        raise ConfigError("task", name, f"its factory returned the class {task.__name__}: return an instance of it")
    missing = [method for method in TASK_METHODS if not callable(getattr(task, method, None))]
    if not isinstance(getattr(task, "name", None), str):
        missing.insert(0, "name")
    if missing:
        kind = type(task).__name__
        raise ConfigError("task", name, f"its factory returned {kind}, which lacks {', '.join(missing)} of a Task")
    return cast(Task, task)


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "built in"

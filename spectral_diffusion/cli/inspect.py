"""`spectral-diffusion inspect`: what adapter files hold, how much they change, and whether they meet."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spectral_diffusion.cli import options
from spectral_diffusion.cli.console import answer, answering, table

if TYPE_CHECKING:
    from spectral_diffusion.adapters import Adapter
    from spectral_diffusion.adapters.energy import GroupEnergy


@click.command(name="inspect", short_help="what an adapter is and does")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=options.PATH)
@click.option("--base", metavar="B", help="Also load this base and tell the slot's share of its spectral energy.")
@options.as_json
@options.debug
def command(files: tuple[Path, ...], base: str | None, as_json: bool) -> None:
    """What an adapter is, how far it moved the weights of its slot, and the overlap of several."""
    with answering(as_json):
        import torch

        from spectral_diffusion.adapters.energy import energies
        from spectral_diffusion.fusion import load_fused
        from spectral_diffusion.fusion.slots import measure_overlaps

        parts = [(path, part) for path in files for part in load_fused(path).parts]
        weights = _weights(base, [part.adapter for _, part in parts]) if base else None
        measured = [energies(part.adapter, weights) for _, part in parts]
        adapters = [part.adapter for _, part in parts]
        # The worst over all weights: one shared column anywhere is a leak.
        overlaps = torch.stack([*measure_overlaps(adapters).values()]).amax(dim=0).tolist()

    lines: list[str] = []
    values: list[dict[str, Any]] = []
    for (path, part), groups in zip(parts, measured, strict=True):
        values.append(
            {"file": str(path), "strength": part.strength, **_facts(part.adapter), "energy": _energy_values(groups)}
        )
        lines += [*_told(path, part.strength, part.adapter), "", *_energy_table(groups), ""]
    if len(adapters) > 1:
        names = [adapter.name for adapter in adapters]
        rows = [[name, *_shares(row, one, adapters)] for name, one, row in zip(names, adapters, overlaps, strict=True)]
        lines += [*table(["overlap", *names], rows), "0: no common column; 1: a column in common"]
        if any(adapter.slot is None for adapter in adapters):
            lines[-1] += "; -: holds no columns, and is added whatever it meets"
    answer(as_json, {"adapters": values, "overlap": overlaps}, lines)


def _shares(row: list[float], one: "Adapter", others: "list[Adapter]") -> list[str]:
    return [
        "-" if one.slot is None or other.slot is None else f"{value:.3f}"
        for value, other in zip(row, others, strict=True)
    ]


def _weights(base_name: str, adapters: "list[Adapter]") -> dict[str, Any]:
    from spectral_diffusion.diffusion.base import fingerprint, load_base
    from spectral_diffusion.diffusion.targets import find_module, flat_weight
    from spectral_diffusion.errors import BaseMismatchError

    base = load_base(base_name)
    weights = {}
    for adapter in adapters:
        adapter.check_base(base.name, fingerprint(base))
        for path in adapter.modules:
            module = find_module(base.components, path)
            if module is None:
                raise BaseMismatchError(f"{adapter.name} changes {path}, which {base.name} lacks", "name its own base")
            weights[path] = flat_weight(module)
    return weights


def _facts(adapter: "Adapter") -> dict[str, Any]:
    from spectral_diffusion.adapters.adapter import slot_values

    trained = sum(
        tensor.numel()
        for held in adapter.modules.values()
        for name, tensor in held.items()
        if name not in ("U", "S", "V")
    )
    return {
        "name": adapter.name,
        "method": adapter.method,
        "rank": adapter.rank,
        "slot": slot_values(adapter.slot),
        "base": adapter.base_name,
        "fingerprints": adapter.fingerprints,
        "tokens": {
            token: {"class_word": info.class_word, "shape": list(adapter.token_vectors[token].shape)}
            for token, info in adapter.tokens.items()
        },
        "modules": len(adapter.modules),
        "trained_parameters": trained + sum(vectors.numel() for vectors in adapter.token_vectors.values()),
        "training": adapter.training,
        "package_version": adapter.package_version,
    }


def _told(path: Path, strength: float, adapter: "Adapter") -> list[str]:
    facts = _facts(adapter)
    tokens = ", ".join(
        f"{token} (a {told['class_word']}, {' x '.join(map(str, told['shape']))})"
        for token, told in facts["tokens"].items()
    )
    return [
        f"{path}",
        f"  concept     {adapter.name}{f', at strength {strength:g}' if strength != 1 else ''}",
        f"  tokens      {tokens or 'none'}",
        f"  method      {adapter.method}, rank {adapter.rank}, {adapter.columns}",
        f"  changes     {facts['modules']} weights, {facts['trained_parameters']:,} trained numbers",
        f"  base        {adapter.base_name} "
        f"({', '.join(f'{part} {digest[:12]}' for part, digest in adapter.fingerprints.items())})",
        f"  written by  spectral-diffusion {adapter.package_version}",
    ]


def _energy_table(groups: "list[GroupEnergy]") -> list[str]:
    head = ["  layers", "weights", "|dW|", "|dW| / slot"]
    rows = [
        [
            f"  {group.group}",
            group.modules,
            f"{group.change_norm:.3f}",
            "-" if group.relative_change is None else f"{group.relative_change:.3f}",
        ]
        for group in groups
    ]
    if all(group.share is not None for group in groups):
        head.append("slot's share of the spectrum")
        for row, group in zip(rows, groups, strict=True):
            row.append(f"{group.share:.2%}")
    return table(head, rows)


def _energy_values(groups: "list[GroupEnergy]") -> list[dict[str, Any]]:
    return [
        {
            "group": group.group,
            "weights": group.modules,
            "change_norm": group.change_norm,
            "relative_change": group.relative_change,
            "share": group.share,
        }
        for group in groups
    ]

"""`aqa runs`: list, show, compare, delete and repair the runs of a study."""

import os

import numpy as np
import pandas as pd
import yaml

from aqa_lib.errors import UserError, choose, nearest
from aqa_lib.ledger.ledger import STATES, Ledger
from aqa_lib.paths import outputs

CHANCE = ("seed", "draw")  # what tells repetitions of one setting apart
HIDDEN = ("id", "types")  # for programs


def configure(parser):
    """The arguments of `aqa runs`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|show|compare|delete|repair")
    common = {"--study": {"help": "folder under outputs/; may be left out where there is only one"}}
    where = {
        "action": "append",
        "default": [],
        "metavar": "COLUMN=VALUE",
        "help": "only such runs; repeatable",
    }
    chosen = {"--where": where, "--state": {"choices": STATES, "help": "only runs in this state"}}
    form = {f"--{kind}": {"action": "store_true", "help": f"print {kind.upper()}"} for kind in ("json", "csv")}

    def verb(name, text, options):
        sub = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        for flag, keywords in options.items():
            sub.add_argument(flag, **keywords)
        return sub

    columns = {"help": "columns to show, by commas; `all` for every one"}
    sort = {"help": "column to sort by; -COLUMN for descending (write --sort=-COLUMN)"}
    verb("list", "A line a run.", common | chosen | {"--columns": columns, "--sort": sort} | form)
    verb("show", "All that is known of one run.", {"id": {"help": "its id or the beginning of it"}} | common)
    by = {"default": "method", "help": "columns whose values form the groups, by commas (default: method)"}
    metric = {"default": "spearman", "help": "what is compared (default: spearman)"}
    verb(
        "compare",
        "Mean, spread and confidence interval of a metric, group by group.",
        common | {"--where": where, "--by": by, "--metric": metric} | form,
    )
    ids = {"nargs": "*", "metavar": "ID", "help": "ids or beginnings of ids"}
    yes = {"action": "store_true", "help": "do it; without it, only say what would go"}
    verb("delete", "Delete runs for good.", {"ids": ids} | common | chosen | {"--yes": yes})
    root = {"help": "where their data set lies, if it is read from files (default: where it lay)"}
    workers = {"type": int, "default": 1, "metavar": "N", "help": "processes that train (default: 1)"}
    verb("repair", "Train damaged runs again, and no others.", common | {"--root": root, "--workers": workers})


def run(args):
    """Do what `aqa runs VERB ...` asks for."""
    verbs = {"list": listing, "show": show, "compare": compare, "delete": delete, "repair": repair}
    return verbs[args.verb](args)


def ledger_of(study):
    """The ledger of a study that is there; a UserError that lists the studies where it is not."""
    base = outputs()
    there = sorted(entry.name for entry in os.scandir(base) if entry.is_dir()) if base.is_dir() else []
    there = [name for name in there if not name.startswith(".")]
    if not there:
        raise UserError(f"there are no runs in {base} yet: train some with `aqa study` or from a notebook")
    if study is None and len(there) > 1:
        raise UserError(f"several studies are in {base}, say which with --study (choices: {', '.join(there)})")
    return Ledger(outputs(choose("study", study or there[0], there)))


# ---- choosing


def matches(column, text):
    """Which entries of a column a user means by `text`: as numbers where both are, else as text."""
    try:
        number = float(text)
    except ValueError:
        number = None
    as_text = column.map(lambda v: str(v).lower() if isinstance(v, bool) else str(v))
    found = as_text == (text.lower() if text.lower() in ("true", "false") else text)
    if number is not None:
        found |= column.map(lambda v: isinstance(v, int | float) and not isinstance(v, bool) and v == number)
    if text.lower() in ("", "none", "nan"):
        found |= column.isna()
    return found.astype(bool)


def select(table, conditions):
    """The rows for which every COLUMN=VALUE holds."""
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals:
            raise UserError(f"--where {condition}: write COLUMN=VALUE, such as method=ridge")
        column = table[choose("column", name, table.columns)]
        found = matches(column, value)
        if not found.any():
            values = sorted(map(str, column.dropna().unique()))
            raise UserError(f"--where {condition}: no run has it{nearest(value, values[:30], ',')}")
        table = table[found]
    return table


def chosen(ledger, args):
    """The table of the runs that --state and --where ask for."""
    return select(ledger.table((args.state,) if args.state else STATES), args.where)


def names(text, table):
    """Column names given by commas."""
    return [choose("column", name.strip(), table.columns) for name in text.split(",")]


# ---- showing


def varies(column):
    """Whether a column holds more than one value, nothing counting as one."""
    return column.map(str).nunique() > 1


def show_table(table, args):
    """Print a table for eyes, or as JSON or CSV for programs."""
    if args.json:
        print(table.to_json(orient="records", indent=1, double_precision=15))
    elif args.csv:
        print(table.to_csv(index=False), end="")
    else:
        text = table.astype(object).where(table.notna(), "-")
        print(text.to_string(index=False, float_format=lambda v: f"{v:.4g}"))


def listing(args):
    """`aqa runs list`: what differs between the runs in a table, what all share in a line."""
    ledger = ledger_of(args.study)
    table = chosen(ledger, args)
    if args.sort:
        name = choose("column", args.sort.removeprefix("-"), table.columns)
        order = table[name] if pd.api.types.is_numeric_dtype(table[name]) else table[name].map(str)
        table = table.loc[order.sort_values(ascending=not args.sort.startswith("-"), kind="stable").index]
    if args.columns:
        table = table if args.columns == "all" else table[names(args.columns, table)]
    if args.json or args.csv or (args.columns and len(table)):
        show_table(table, args)
        return 0
    if table.empty:
        print(f"no run in {ledger.folder} is {args.state or 'there'}")
        return 0
    shown = [c for c in table if c in ("id", "state", "method", "data") or varies(table[c])]
    same = {c: table[c].iloc[0] for c in table if c not in shown and pd.notna(table[c].iloc[0])}
    digits = next(n for n in range(8, 17) if table["id"].str[:n].is_unique)
    show_table(table[shown].assign(id=table["id"].str[:digits]), args)
    if same:
        print("the same in all: " + ", ".join(f"{name}={value}" for name, value in same.items()))
    counts = table["state"].value_counts()
    print(f"{len(table)} runs: " + ", ".join(f"{counts[s]} {s}" for s in STATES if s in counts))
    return 0


def show(args):
    """`aqa runs show`: what the run is, how far it is, what it measured, what made it, its files."""
    ledger = ledger_of(args.study)
    id = ledger.find(args.id)
    state, found = ledger.look(id)
    made = ledger.read(id).run if state == "complete" else {}
    known = {"id": id, "state": state} | {k: v for k, v in (found | made).items() if k not in HIDDEN}
    known |= {"folder": str(ledger.path(id)), "files": sorted(os.listdir(ledger.path(id)))}
    print(yaml.safe_dump(known, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110), end="")
    return 0


def compare(args):
    """`aqa runs compare`: n, mean, standard deviation and interval of a metric, group by group."""
    from aqa_lib.evaluation import bounds, mean_interval

    ledger = ledger_of(args.study)
    table = select(ledger.table(), args.where)
    if table.empty:
        raise UserError(f"no run in {ledger.folder} is complete, nothing can be compared: train some first")
    settings = table.attrs["settings"]
    numeric = [c for c in table if pd.api.types.is_numeric_dtype(table[c])]
    metric = choose("metric", args.metric, [c for c in numeric if c not in settings])
    by = names(args.by, table)
    rows, mixed, without = [], set(), 0
    for key, group in table.groupby(by, dropna=False):
        values = group[metric].dropna().to_numpy(float)
        without += len(group) - len(values)
        apart = {c for c in ("method", "data", "split", *settings) if varies(group[c])}
        mixed |= apart | ({"code"} if not apart & {"method", "data"} and varies(group["code"]) else set())
        if len(values):
            mean, low, high = mean_interval(values, limits=bounds(metric))
            sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
            line = {"n": len(values), "mean": mean, "sd": sd, "low": low, "high": high}
            rows.append(dict(zip(by, key, strict=True)) | line)
    show_table(pd.DataFrame(rows).sort_values("mean", ascending=False, kind="stable"), args)
    if not (args.json or args.csv):
        print(f"{metric}: mean, standard deviation and 95 % interval of the mean (Student's t) over n runs, not over")
        print("the test items that these share; there is none where runs do not differ")
        if mixed := sorted(mixed.difference(by, CHANCE)):
            print(f"mixed within a group, choose with --where or --by: {', '.join(mixed)}")
        if without:
            print(f"{without} runs have no {metric} and were left out")
    return 0


def delete(args):
    """`aqa runs delete`: by ids or by what they are; says what would go until told --yes."""
    ledger = ledger_of(args.study)
    if not (args.ids or args.where or args.state):
        raise UserError("delete what? Say which runs, by ids, --where or --state (or remove the folder)")
    table = chosen(ledger, args)
    if args.ids:
        ids = [ledger.find(prefix) for prefix in args.ids]
        table = table[table["id"].isin(ids)]
    running = table[table["state"] == "running"]
    if args.ids and len(running):
        id = running["id"].iloc[0]
        gone = f"or, where its machine is long gone, remove {ledger.path(id)}/lock"
        raise UserError(f"run {id} is running, nothing was deleted: stop it first, {gone}")
    table = table[table["state"] != "running"]
    if args.yes:
        ledger.delete(table["id"])
        print(f"deleted {len(table)} runs of {ledger.folder}")
    elif len(table):
        args.json = args.csv = False
        show_table(table[["id", "state", "method", "data"]], args)
        print(f"{len(table)} runs would be deleted for good: add --yes to do it")
    else:
        print("no run would be deleted")
    return 0


def repair(args):
    """`aqa runs repair`: a line a damaged run; 1 where one could not be trained again."""
    from aqa_lib.study.repair import repair as train_again
    from aqa_lib.study.study import Study

    if args.workers < 1:
        raise UserError(f"--workers {args.workers}: it takes a number of processes, 1 or more")
    study = Study(ledger_of(args.study).folder.name)
    root = None if args.root is None else os.path.abspath(args.root)
    trained, removed, left = train_again(study, root, args.workers)
    for id in trained:
        print(f"run {id} was damaged and is now {study.ledger.state(id)}")
    for id in removed:
        print(f"run {id} was removed, nothing says any more what it was: the command that asked for it trains it again")
    for id, why in left.items():
        print(f"run {id} is damaged and was left: {why}")
    if trained or removed or left:
        print(f"{len(trained)} runs of {study.ledger.folder} were trained again")
    else:
        print(f"no run of {study.ledger.folder} is damaged")
    return int(bool(left))

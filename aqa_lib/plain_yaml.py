"""YAML as mappings, lists, words, numbers and truth values, and nothing that can surprise the one who wrote it.

    read_yaml("{draws: 4}", "configs/study.yaml")                # {"draws": 4}
    read_yaml("{draws: 4, draws: 5}", "configs/study.yaml")      # UserError: ...: the key 'draws' stands there twice

A key stands once, an alias never stands inside what it names, and neither depth nor size (aliases count as what they
name) is without end. A date stays a word.
"""

import yaml

from aqa_lib.errors import UserError

DEPTH, SIZE = 30, 100_000  # levels of brackets or indentation; values of the whole text
KEPT = ("null", "bool", "int", "float", "str", "seq", "map", "merge")  # tags; others, such as dates and sets, are not


def tagged(table):
    """Of a loader's table by tag, what is kept."""
    return {tag: value for tag, value in table.items() if tag is None or tag.rpartition(":")[2] in KEPT}


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader, strict about keys; it knows the plain kinds of values alone."""

    yaml_constructors = tagged(yaml.SafeLoader.yaml_constructors)
    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in those if tag.rpartition(":")[2] in KEPT]
        for first, those in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor):
        """A mapping whose keys are words or numbers, each there once; looked at before another is merged in (<<)."""
        node, seen = super().compose_mapping_node(anchor), set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise UserError(f"a key in line {key.start_mark.line + 1} is a list or a mapping, not a word")
            if (key.tag, key.value) in seen:
                raise UserError(f"the key {key.value!r} stands there twice, again in line {key.start_mark.line + 1}")
            seen.add((key.tag, key.value))
        return node


def read_yaml(text, where):
    """What a YAML text says; a UserError that begins with `where` if it cannot be read."""
    try:
        look(text)
        return yaml.load(text, Loader)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # a number of five thousand digits
        raise UserError(f"cannot read {where}: {' '.join(str(error).split())}") from None


def look(text):
    """A UserError where the text is too deep, too large or names itself; it is parsed, and nothing is made of it."""
    open_ones, sizes, size = [], {}, 0  # [(anchor, size before it)]; {anchor: values that it stands for}
    for event in yaml.parse(text, Loader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in [anchor for anchor, _ in open_ones]:
                raise UserError(f"the alias *{event.anchor} stands inside what it names")
            size += sizes.get(event.anchor, 0)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_ones.append((event.anchor, size))
            size += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_ones.pop()
            sizes[anchor] = size - before
        elif isinstance(event, yaml.ScalarEvent):
            size += 1
            sizes[event.anchor] = 1
        if len(open_ones) > DEPTH:
            raise UserError(f"it has more than {DEPTH} levels, one inside the other")
        if size > SIZE:
            raise UserError(f"it stands for more than {SIZE:,} values")

"""Which published table a question of this study stands beside, and which evaluation published tables report."""

from aqa_lib.errors import choose

NAMES = {"mtl_aqa": "MTL-AQA", "rhythmic_gymnastics": "Rhythmic Gymnastics", "jigsaws": "JIGSAWS"}
TABLES = {  # question -> data set -> table of S4AQA's paper
    "methods": {"mtl_aqa": "I", "rhythmic_gymnastics": "II", "jigsaws": "III"},
    "ablation": {"mtl_aqa": "IV", "rhythmic_gymnastics": "V"},
    "masking": {"mtl_aqa": "VI"},
    "modalities": {"mtl_aqa": "VII"},
    "alignment": {"mtl_aqa": "VIII"},
    "mechanisms": {"mtl_aqa": "IX"},
}
PRACTICE = {  # which evaluation published tables report
    "mtl_aqa": "on MTL-AQA most report the evaluation that is best on the test videos; S4AQA's paper does not say",
    "rhythmic_gymnastics": "ACTION-NET prints every evaluation and states no rule; S4AQA's paper does not say",
    "jigsaws": "on JIGSAWS USDL reports the mean of the last ten evaluations, DAE that of the ten consecutive ones "
    "that are best on the test trials; S4AQA's paper does not say",
}


def figures_published(question, data):
    """{(variant, fraction): {part or "": number}} of the paper's table on this question and data set, or {}."""
    from aqa_lib.published import s4aqa

    table = TABLES[choose("question", question, TABLES)].get(data)
    if table is None:
        return {}
    found = {}
    for row in s4aqa(table, NAMES[data]).itertuples():
        part = "" if row.action in ("all", "Avg") else plain(row.action)
        found.setdefault((row.method, row.label_fraction), {})[part] = row.spearman
    return found


def plain(word):
    """Needle_Passing as the paper's Needle Passing, in small letters."""
    return str(word).replace("_", " ").lower()

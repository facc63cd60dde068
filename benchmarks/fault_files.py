"""placeholder"""


def cases(folder, seed):
    return []

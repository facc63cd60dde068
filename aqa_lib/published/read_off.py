"""Published values that exist only in a plot: read off it by eye, to about .003, and to be called that."""

# Zhang, Pan, Gao, Zheng (IEEE TCSVT 2022), Fig. 6: MTL-AQA, rank correlation against the labelled share
LABEL_FRACTIONS = {
    "S4AQA": {0.1: 0.676, 0.2: 0.716, 0.3: 0.728, 0.4: 0.746, 0.5: 0.755},
    "VAT": {0.1: 0.635, 0.2: 0.671, 0.3: 0.709, 0.4: 0.724, 0.5: 0.734},
    "USDL": {0.1: 0.530, 0.2: 0.608, 0.3: 0.634, 0.4: 0.646, 0.5: 0.683},
}

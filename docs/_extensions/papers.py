"""Where the papers that the docstrings name can be read."""

import re

PAPERS = {
    "Ba, Kiros & Hinton 2016": "https://arxiv.org/abs/1607.06450",
    "Bahdanau, Cho & Bengio 2015": "https://arxiv.org/abs/1409.0473",
    "Beck et al. 2024": "https://arxiv.org/abs/2405.04517",
    "Bishop 1994": "https://publications.aston.ac.uk/id/eprint/373/",
    "Cho et al. 2014": "https://arxiv.org/abs/1406.1078",
    "Chung et al. 2014": "https://arxiv.org/abs/1412.3555",
    "Elman 1990": "https://doi.org/10.1207/s15516709cog1402_1",
    "Feng et al. 2024": "https://arxiv.org/abs/2410.01201",
    "Gers & Schmidhuber 2000": "https://doi.org/10.1109/IJCNN.2000.861302",
    "Gers et al. 2000": "https://doi.org/10.1162/089976600300015015",
    "Gers, Schraudolph & Schmidhuber 2002": "https://www.jmlr.org/papers/v3/gers02a.html",
    "Graves 2013": "https://arxiv.org/abs/1308.0850",
    "Greff et al. 2017": "https://arxiv.org/abs/1503.04069",
    "Gregor et al. 2015": "https://arxiv.org/abs/1502.04623",
    "He et al. 2016": "https://arxiv.org/abs/1512.03385",
    "Hochreiter & Schmidhuber 1997": "https://doi.org/10.1162/neco.1997.9.8.1735",
    "Jaderberg et al. 2015": "https://arxiv.org/abs/1506.02025",
    "Koutník et al. 2014": "https://arxiv.org/abs/1402.3511",
    "Krueger et al. 2017": "https://arxiv.org/abs/1606.01305",
    "Lafferty, McCallum & Pereira 2001": "https://repository.upenn.edu/cis_papers/159/",
    "Li et al. 2018": "https://arxiv.org/abs/1803.04831",
    "Luong, Pham & Manning 2015": "https://arxiv.org/abs/1508.04025",
    "Merity, Keskar & Socher 2018": "https://arxiv.org/abs/1708.02182",
    "Miyato, Dai & Goodfellow 2017": "https://arxiv.org/abs/1605.07725",
    "Mnih et al. 2014": "https://arxiv.org/abs/1406.6247",
    "Sønderby et al. 2015": "https://arxiv.org/abs/1509.05329",
    "Tallec & Ollivier 2018": "https://arxiv.org/abs/1804.11188",
    "Viterbi 1967": "https://doi.org/10.1109/TIT.1967.1054010",
    "Wu et al. 2016": "https://arxiv.org/abs/1609.08144",
    "Yang et al. 2016": "https://doi.org/10.18653/v1/N16-1174",
    "Yao et al. 2015": "https://arxiv.org/abs/1508.03790",
    "Zhou et al. 2016": "https://arxiv.org/abs/1603.09420",
    "van der Westhuizen & Lasenby 2018": "https://arxiv.org/abs/1804.04849",
}
_ANY = re.compile("|".join(re.escape(paper) for paper in PAPERS))


def linked(source):
    """reStructuredText of a source, each paper that is known as a link."""
    return _ANY.sub(lambda match: f"`{match[0]} <{PAPERS[match[0]]}>`__", source)

# SPDX-License-Identifier: GPL-2.0-only
"""Sphinx configuration; "make docs" uses it. No extension is needed."""

import os
import re


def _version():
    """The version is written down once, in dkms.conf."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "..", "dkms.conf"), encoding="utf-8") as conf:
        return re.search(r'^PACKAGE_VERSION="(.*)"', conf.read(), re.M).group(1)


project = "pv-iommu"
author = "The pv-iommu authors"
copyright = author  # pylint: disable=redefined-builtin
version = release = _version()

root_doc = "index"
exclude_patterns = []
primary_domain = "c"
highlight_language = "none"
smartquotes = False

html_theme = "alabaster"
html_theme_options = {
    "description": "Paravirtual IOMMU for VFIO",
    "page_width": "1080px",
}
html_copy_source = False
html_show_copyright = False

"""Label tables, each as its tool writes it, the odd ones too; bad lines refused by number."""

import textwrap

import pytest
from nibabel.gifti import GiftiImage, GiftiLabel, GiftiLabelTable

from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources.tables.rows import Label
from ngcore.sources.tables.tables import read_label_table

HIPPOCAMPUS = Label(17, "Left-Hippocampus", (220, 216, 20))
AMYGDALA = Label(18, "Left-Amygdala", (103, 255, 255))
UNKNOWN = Label(0, "Unknown", (0, 0, 0))

FREESURFER = """\
#$Id: FreeSurferColorLUT.txt,v 1.105 2015/07/29 18:21:03 greve Exp $

#No. Label Name:                            R   G   B   A

0   Unknown                                 0   0   0   0
17  Left-Hippocampus                        220 216 20  0
18  Left-Amygdala                           103 255 255 0
"""

ITKSNAP = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Fields:
#    IDX:   Zero-based index
#    -R-:   Red color component (0..255)
#    -A-:   Label transparency (0.00 .. 1.00)
#  LABEL:   Label description
################################################
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0        1  1  1    "Label 1, the \"first\""
   20    51   51  255     0.25  1  1    "left hippocampus (l5)"
"""

FSL = """\
<?xml version="1.0" encoding="ISO-8859-1"?>
<atlas version="1.0">
  <header>
    <name>Harvard-Oxford Cortical Structural Atlas</name>
    <shortname>HOCPA</shortname>
    <type>{type}</type>
    <images>
      <imagefile>/HarvardOxford/HarvardOxford-cort-prob-2mm</imagefile>
      <summaryimagefile>/HarvardOxford/HarvardOxford-cort-maxprob-thr0-2mm</summaryimagefile>
    </images>
  </header>
  <data>
<label index="0" x="48" y="94" z="35">Frontal Pole</label>
<label index="1" x="25" y="70" z="32">Insular &amp; M\u00fcller&apos;s Cortex</label>
  </data>
</atlas>
"""


def write(tmp_path, text, name="table.txt", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(textwrap.dedent(text).encode(encoding))
    return path


def read(tmp_path, text, **options):
    return read_label_table(write(tmp_path, text, **options))


def refused(tmp_path, text, message, **options):
    with pytest.raises(FormatError, match=message):
        read(tmp_path, text, **options)


def test_freesurfer_table_is_read(tmp_path):
    assert read(tmp_path, FREESURFER) == ("FreeSurfer", (UNKNOWN, HIPPOCAMPUS, AMYGDALA))


def test_freesurfer_table_may_mix_tabs_and_spaces_lack_alpha_and_hold_comments(tmp_path):
    odd = (
        "\ufeff# mine\r\n\t18 Left-Amygdala\t103  255\t255   # no alpha\r\n"
        "   \r\n 17\tLeft-Hippocampus 220 216 20 0 2\r\n#1 Gone 1 2 3 0\r\n  0 Unknown 0 0 0 0"
    )
    assert read(tmp_path, odd).labels == (UNKNOWN, HIPPOCAMPUS, AMYGDALA)


def test_old_macintosh_line_ends_are_lines(tmp_path):
    refused(tmp_path, FREESURFER.replace("\n", "\r") + "x\r", "line 8: expected id, name")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("19 Left-Insula 80 196 98x 0", "line 8: the colour '80 196 98x' must be three numbers"),
        ("19 Left-Insula 80 196 256 0", "line 8: the colour"),
        ("19 Left-Insula 80 -1 25 0", "line 8: the colour"),
        ("19 Left-Insula 80 196", "line 8: expected id, name"),
        ("19 Left Insula 80 196 98 0", "line 8: the colour 'Insula 80 196'"),
        ("19 Left-Insula 80 196 98 0 1 2", "line 8: expected id, name"),
        ("x19 Left-Insula 80 196 98 0", "line 8: the id 'x19' is not a whole number"),
        ("-19 Left-Insula 80 196 98 0", "line 8: the id -19 is outside"),
        (f"{2**64} Left-Insula 80 196 98 0", "line 8: the id 18446744073709551616 is outside"),
        ("19 Left-Insula 80 196 98 a", "line 8: the alpha or tissue type 'a'"),
        ("17 Twice 80 196 98 0", "line 8: the id 17 was already in line 6, as 'Left-Hippo"),
    ],
)
def test_bad_freesurfer_lines_are_refused_by_number(tmp_path, line, message):
    refused(tmp_path, FREESURFER + line + "\n", message)


def test_itksnap_table_is_read(tmp_path):
    assert read(tmp_path, ITKSNAP) == (
        "ITK-SNAP",
        (
            Label(0, "Clear Label", (0, 0, 0)),
            Label(1, 'Label 1, the "first"', (255, 0, 0)),
            Label(20, "left hippocampus (l5)", (51, 51, 255)),
        ),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0 255 0 1 1 1 unquoted", 'line 14: expected id, red, .* name in "quotes"'),
        ('2 0 255 0 1 1 "too few"', "line 14: "),
        ('2 0 255 999 1 1 1 "bright"', "line 14: the colour"),
        ('2 0 255 0 opaque 1 1 "x"', "line 14: 'opaque' is not a number"),
        ('20 0 255 0 1 1 1 "again"', "line 14: the id 20 was already in line 13"),
    ],
)
def test_bad_itksnap_lines_are_refused_by_number(tmp_path, line, message):
    refused(tmp_path, ITKSNAP + line + "\n", message)


def test_bids_table_is_read(tmp_path):
    text = (
        "index\tname\tabbreviation\tcolor\tmapping\n"
        "1\tGray Matter\tGM\t#ff53bb\t1\n2\tWhite Matter\tn/a\t#2f8bbe\t2\n11\tBrainstem\n"
    )
    assert read(tmp_path, text, name="sub-01_dseg.tsv") == (
        "BIDS",
        (
            Label(1, "Gray Matter", (255, 83, 187), "GM"),
            Label(2, "White Matter", (47, 139, 190)),
            Label(11, "Brainstem"),
        ),
    )


def test_bids_table_may_have_its_columns_in_any_order_and_more_of_them(tmp_path):
    text = "Name\tR\tG\tB\tlobe\ttag\tindex\r\nInsula\t80\t196\t98\tx y\tleft\t19\r\n"
    assert read(tmp_path, text).labels == (
        Label(19, "Insula", (80, 196, 98), "", ("x_y", "left")),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index\tname\n1\ta\nx\tb\n", "line 3: the id 'x'"),
        ("index\tname\n1\ta\n1\tb\n", "line 3: the id 1 was already in line 2"),
        ("index\tname\n1\n", "line 2: the name is missing"),
        ("index\tname\n1\tn/a\n", "line 2: the name is missing"),
        ("index\tname\n\n1\ta\tb\n", "line 3: 3 columns, but 2 titles"),
        ("index\tname\tcolor\n1\ta\tred\n", "line 2: the colour 'red' must be written as"),
        ("index\tname\tr\tg\n1\ta\t1\t2\n", "line 1: a colour is either"),
        ("index\tid\tname\n7\t1\ta\n", "line 1: the columns .* both could hold the ids; say"),
        ("index\tname\n", "is a BIDS table without a label"),
    ],
)
def test_bad_bids_lines_are_refused_by_number(tmp_path, text, message):
    refused(tmp_path, text, message)


def test_csv_without_a_header_is_read(tmp_path):
    text = '18,Left-Amygdala,103,255,255\n17,"Left-Hippocampus",220,216,20,left,limbic\n\n'
    tagged = Label(17, "Left-Hippocampus", (220, 216, 20), "", ("left", "limbic"))
    assert read(tmp_path, text) == ("CSV", (tagged, AMYGDALA))


def test_csv_without_colours_takes_the_rest_for_tags(tmp_path):
    text = '# mine\n 1, "Insula, left", left , , cortex\n2,Pons\n'
    assert read(tmp_path, text).labels == (
        Label(1, "Insula, left", None, "", ("left", "cortex")),
        Label(2, "Pons"),
    )


@pytest.mark.parametrize("header", ["", "id;name;r;g;b;tags\n"])
def test_csv_with_semicolons_is_read(tmp_path, header):
    text = header + '17;Left-Hippocampus;220;216;20\n18;"Left; other, Amygdala";;;;limbic\n'
    path = tmp_path / "t.csv"
    path.write_text(text)
    if not header:
        path.write_text(text.replace(";;;;limbic", ";1;2;3;limbic"))
    first, second = read_label_table(path).labels
    assert first == HIPPOCAMPUS
    assert (second.name, second.tags) == ("Left; other, Amygdala", ("limbic",))


def test_csv_cell_of_two_lines_keeps_its_words_apart(tmp_path):
    assert read(tmp_path, '1,"Left\nhippocampus"\r\n').labels == (Label(1, "Left hippocampus"),)


def test_csv_with_a_header_finds_its_columns_by_title(tmp_path):
    text = "id,name,hemisphere,r,g,b,description\n17,Hip,left,1,2,3,x y\n18,Amy,right,,,,\n"
    assert read(tmp_path, text).labels == (
        Label(17, "Hip", (1, 2, 3), "x y", ("left",)),
        Label(18, "Amy", None, "", ("right",)),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,a\n2\n", "line 2: the name is missing"),
        ("1,a\n2,b\n1,c\n", "line 3: the id 1 was already in line 1"),
        ("1,a,1,2,3\n2,b,left\n", "line 2: the colour 'left"),
        ("1,a,#left\n", "line 1: the tag '#left' must be written without"),
        ("1,a,left\n2,b,Left\n", "line 2: the tag 'Left' differs from 'left' in line 1"),
        ('1,a\n2,"b\n', "line 3: unexpected end"),
        ("id,title\n1,a\n", "line 1: the table has no column name"),
        ("id,name\n1.5,a\n", "line 2: the id '1.5' is not a whole number"),
    ],
)
def test_bad_csv_lines_are_refused_by_number(tmp_path, text, message):
    refused(tmp_path, text, message)


def test_fsl_labels_of_a_label_atlas_are_their_index(tmp_path):
    table = read(tmp_path, FSL.format(type="Label"), encoding="latin-1")
    assert table == ("atlas", (Label(0, "Frontal Pole"), Label(1, "Insular & Müller's Cortex")))


@pytest.mark.parametrize("kind", ["Probabilistic", "Probabalistic"])
def test_fsl_labels_of_a_probabilistic_atlas_are_one_more(tmp_path, kind):
    table = read(tmp_path, FSL.format(type=kind), encoding="latin-1")
    assert [label.id for label in table.labels] == [1, 2]


def test_fsl_label_may_say_its_value(tmp_path):
    text = FSL.format(type="Probabilistic").replace('index="1"', 'index="1" value="30"')
    assert read(tmp_path, text, encoding="latin-1").labels[1].id == 30


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('index="1"', 'index="0"', "line 14: the id 0 was already in line 13"),
        ('index="1"', 'index="one"', "line 14: the id 'one'"),
        ('index="1"', "", "line 14: <label> has no attribute index"),
        ("ISO-8859-1", "ISO-885-1", "line 1: unknown encoding: ISO-885-1; save it as UTF-8"),
        ("ISO-8859-1", "big5", "line 1: .*; save it as UTF-8"),
        ("</data>", "", "line 16: not valid XML: mismatched tag"),
        ("<atlas", "<!DOCTYPE a [<!ENTITY a 'b'>]><atlas", "line 2: XML entities are not allowed"),
    ],
)
def test_bad_fsl_lines_are_refused_by_number(tmp_path, old, new, message):
    text = FSL.format(type="Label").replace(old, new)
    refused(tmp_path, text, message, encoding="latin-1")


def gifti(*labels):
    table = GiftiLabelTable()
    for key, name, *colour in labels:
        label = GiftiLabel(key, *colour)
        label.label = name
        table.labels.append(label)
    return GiftiImage(labeltable=table).to_xml().decode()


def test_gifti_label_table_is_read(tmp_path):
    text = gifti((0, "???", 1, 1, 1, 0), (7, "L_V1 <ROI>", 0.2, 0.6, 1, 1))
    assert read(tmp_path, text, name="lh.aparc.label.gii") == (
        "GIfTI",
        (Label(0, "???", (255, 255, 255)), Label(7, "L_V1 <ROI>", (51, 153, 255))),
    )


def test_gifti_label_may_lack_a_colour(tmp_path):
    assert read(tmp_path, gifti((3, "x"))).labels == (Label(3, "x"),)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([(3, "x"), (3, "y")], r"line \d+: the id 3 was already in line"),
        ([(-3, "x")], r"line \d+: the id -3 is outside"),
        ([(3, "x", 0.5, 1.5, 0, 1)], r"line \d+: Green is '1.5', expected"),
        ([], "is a GIfTI table without a label"),
    ],
)
def test_bad_gifti_labels_are_refused_by_line(tmp_path, labels, message):
    refused(tmp_path, gifti(*labels), message)


def test_what_is_no_label_table_is_refused(tmp_path):
    refused(tmp_path, "", "is not a label table")
    refused(tmp_path, "# only\n\n# comments\n", "is not a label table")
    refused(tmp_path, "Dear reader,\nhello\n", "is not a label table")
    refused(tmp_path, "<svg></svg>", "is XML of 'svg'")
    with pytest.raises(InputNotFoundError, match="there is no label table"):
        read_label_table(tmp_path / "gone.txt")
    with pytest.raises(InputError, match="can't be read"):
        read_label_table(tmp_path)


def test_text_of_another_encoding_is_refused_by_line(tmp_path):
    refused(tmp_path, "1,Pons\n2,Tälamus\n", "line 2: byte 0xe4 is not UTF-8", encoding="latin-1")
    refused(tmp_path, "1,Pons\n", "line 1: byte 0xff", encoding="utf-16")

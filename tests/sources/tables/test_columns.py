"""Columns are what their cells say: ids, names, colours, trees, numbers and tags of any title."""

import pytest

from ngcore.errors import FormatError, InputError
from ngcore.sources.tables.columns import Choice
from ngcore.sources.tables.rows import Label
from ngcore.sources.tables.tables import read_label_table

ROOT = 720575940631843533


def read(tmp_path, text, choice=None, name="table.csv"):
    path = tmp_path / name
    path.write_text(text)
    return read_label_table(path, choice or Choice()).labels


@pytest.mark.parametrize(
    ("title", "cells"),
    [
        ("rgb_triplet", ("15/2/200", "255/255/255")),
        ("rgb_triplet", ('"[15, 2, 200]"', '"[255, 255, 255]"')),
        ("RGB", ("15 2 200", "255 255 255")),
        ("colour_rgb", ('"15,2,200"', '"255,255,255"')),
        ("color_hex_triplet", ("0F02C8", "FFFFFF")),
        ("color_hex_triplet", ("0F02C8FF", "FFFFFFFF")),
        ("display", ("#0f02c8", "#ffffff")),
        ("display", ("15/2/200", "255/255/255")),
        ("display", ('"(0.0588, 0.0078, 0.784)"', '"(1, 1, 1)"')),
        ("r,g,b", ("15,2,200", "255,255,255")),
        ("Color_R,Color_G,Color_B,Color_A", ("15,2,200,255", "255,255,255,255")),
        ("red,green,blue,alpha", ("0.0588,0.0078,0.784,1", "1,1,1,1.0")),
        ("color.b,color.g,color.r", ("200,2,15", "255,255,255")),
        ("R (0-255),G (0-255),B (0-255)", ("15,2,200", "255,255,255")),
        ("red_value,green_value,blue_value", ("15,2,200", "255,255,255")),
        ("r_color,g_color,b_color", ("15,2,200", "255,255,255")),
    ],
)
def test_colours_are_found_under_any_title_and_are_never_tags(tmp_path, title, cells):
    text = f"id,name,{title}\n17,habenula,{cells[0]}\n18,white,{cells[1]}\n"
    assert read(tmp_path, text) == (
        Label(17, "habenula", (15, 2, 200)),
        Label(18, "white", (255, 255, 255)),
    )


@pytest.mark.parametrize(
    ("title", "cells"),
    [
        ("pt_position", ('"[15, 2, 200]"', '"[4000, 5, 6]"')),
        ("pt_position", ('"[15, 2, 200]"', '"[40, 5, 6]"')),
        ("anchor", ('"[15, 2, 200]"', '"[4000, 5, 6]"')),
        ("date", ("12/03/24", "13/03/24")),
        ("created", ("12/03/2024", "13/03/2024")),
        ("version", ("12/03/2024", "13/03/2024")),
    ],
)
def test_places_and_dates_are_no_colours(tmp_path, title, cells):
    text = f"id,name,{title}\n17,a,{cells[0]}\n18,b,{cells[1]}\n"
    assert all(label.colour is None for label in read(tmp_path, text))


def test_a_lone_b_is_no_blue(tmp_path):
    assert read(tmp_path, "id,name,b\n1,a,300\n") == (Label(1, "a", None, "", (), (("b", 300),)),)


def test_a_hex_colour_that_a_spreadsheet_took_for_a_number_is_filled_up(tmp_path):
    text = "id,name,color_hex_triplet\n1,a,19399\n2,b,70FF71\n"
    assert [label.colour for label in read(tmp_path, text)] == [
        (1, 0x93, 0x99),
        (0x70, 0xFF, 0x71),
    ]


@pytest.mark.parametrize("title", ["root_id", "pt_root_id", "segment_id", "bodyId", "Root ID"])
def test_tables_of_neurons_are_read_without_losing_a_digit(tmp_path, title):
    text = f"{title},name,side,synapses,supervoxel\n{ROOT},A,left,12,{ROOT + 7}\n{ROOT + 1},,,3,\n"
    more = ("synapses", 12), ("supervoxel", str(ROOT + 7))
    assert read(tmp_path, text) == (
        Label(ROOT, "A", None, "", ("left",), more),
        Label(ROOT + 1, str(ROOT + 1), None, "", (), (("synapses", 3),)),
    )


@pytest.mark.parametrize("header", [",id,name", "Unnamed: 0,id,name", "index,id,name"])
def test_an_index_of_pandas_is_passed_over(tmp_path, header):
    assert read(tmp_path, f"{header}\n0,17,A\n1,18,B\n") == (Label(17, "A"), Label(18, "B"))


def test_ids_that_pandas_made_floats_are_whole(tmp_path):
    assert read(tmp_path, "id,name\n17.0,A\n") == (Label(17, "A"),)


def test_a_label_is_a_name_or_an_id_by_its_content(tmp_path):
    assert read(tmp_path, "id,label,structure\n1,bankssts,cortex\n") == (
        Label(1, "bankssts", None, "", ("cortex",)),
    )
    assert read(tmp_path, "label,region\n1,bankssts\n") == (Label(1, "bankssts"),)


def test_slicer_and_cat_tables_are_read(tmp_path):
    text = "LabelValue,Name,Color_R,Color_G,Color_B,Color_A\n1,tissue,128,174,128,255\n"
    assert read(tmp_path, text) == (Label(1, "tissue", (128, 174, 128)),)
    text = "ROIid;ROIabbr;ROIname\n1;lAcc;Left Accumbens\n"
    assert read(tmp_path, text) == (Label(1, "Left Accumbens", None, "lAcc"),)


def test_a_tree_of_regions_becomes_tags(tmp_path):
    text = (
        "acronym,id,name,structure_id_path,parent_structure_id\n"
        "root,997,root,/997/,\nTH,549,Thal amus,/997/549/,997.0\nml,5,a,/997/549/5/,549.0\n"
        "ML,6,b,/997/6/,997.0\nx,7,x,/997/6/7/,6.0\ny,8,y,/997/549/5/8/,5.0\n"
    )
    tags = {label.id: label.tags for label in read(tmp_path, text)}
    assert tags[997] == ("root",)
    assert tags[549] == ("root", "TH")
    assert tags[8] == ("root", "TH", "ml")
    assert tags[7] == ("root", "ML_6")  # Neuroglancer does not tell it from ml
    labels = {label.id: label.description for label in read(tmp_path, text)}
    assert labels[549] == "TH"
    by_parent = text.replace("structure_id_path", "note").replace("/", "n")
    assert {one.id: one.tags for one in read(tmp_path, by_parent)}[7][:2] == ("root", "ML_6")


def test_spaces_in_tags_become_underscores_and_flags_are_their_title(tmp_path):
    text = "id,name,lobe,is proofread,failed\n1,a,left side,True,f\n2,b,,False,f\n"
    assert [label.tags for label in read(tmp_path, text)] == [("left_side", "is_proofread"), ()]


def test_texts_that_no_two_labels_share_are_no_tags(tmp_path):
    rows = "".join(f"{n},a,text {n},{'AB'[n % 2]}\n" for n in range(1, 31))
    label = read(tmp_path, "id,name,note,half\n" + rows)[0]
    assert (label.tags, label.values) == (("B",), (("note", "text 1"),))


def test_words_that_differ_in_case_only_stay_words(tmp_path):
    labels = read(tmp_path, "id,name,type\n1,a,MB\n2,b,mb\n")
    assert [label.values for label in labels] == [(("type", "MB"),), (("type", "mb"),)]


def test_columns_can_be_chosen(tmp_path):
    text = "neuron,nickname,hue\n9,Ann,1 2 3\n"
    choice = Choice("neuron", "nickname", "hue")
    assert read(tmp_path, text, choice) == (Label(9, "Ann", (1, 2, 3)),)
    assert read(tmp_path, "x,Ann,4,5,6,9\n", Choice("6", "2", "3,4,5")) == (
        Label(9, "Ann", (4, 5, 6), "", ("x",)),
    )


@pytest.mark.parametrize(
    ("text", "choice", "message"),
    [
        ("neuron,name\n9,a\n", Choice(), "no column id .* with --id-column: 'neuron', 'name'"),
        ("id,x\n9,a\n", Choice(), r"no column name .* --name-column: 'id', 'x'"),
        ("id,name\n9,a\n", Choice("neuron"), r"no column 'neuron' \(--id-column\); it has 'id'"),
        ("id,name,r,g\n9,a,1,2\n", Choice(colour="r,g"), "--color-column takes one title, or"),
        ("id,segment_id,root_id,name\n1,2,3,a\n", Choice(), "'root_id' and 'segment_id' both"),
        ("id,parent_id,name\n1,2,a\n2,1,b\n", Choice(), "region 1 lies within itself"),
        (
            "id,name,rgb_triplet\n1,a,1/2/3\n2,b,1/2/256\n",
            Choice(),
            "line 3: the colour '1 2 256'",
        ),
    ],
)
def test_what_is_not_clear_is_refused_with_the_option_that_helps(tmp_path, text, choice, message):
    with pytest.raises((FormatError, InputError), match=message):
        read(tmp_path, text, choice)


def test_columns_of_formats_without_titles_cannot_be_chosen(tmp_path):
    with pytest.raises(InputError, match="is a FreeSurfer table, whose columns are known"):
        read(tmp_path, "17 Hip 1 2 3 0\n", Choice(id="id"))

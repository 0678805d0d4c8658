import pytest

from ngcore.sources.type_hints import suggest_type


@pytest.mark.parametrize(
    "name",
    [
        "sub-01_dseg.nii.gz", "sub-01_desc-brain_mask.nii.gz", "data/T1w_label-WM_roi.nii",
        "sub-01_desc-aparcaseg_dseg.nii", "mask.nii.gz", "SUB_DSEG.NII.GZ", "atlas_labels.mgz",
        "case_seg.npy", "mri/aseg.mgz", "aparc+aseg.mgz", "aparc.a2009s+aseg.mgz", "wmparc.mgz",
        "aparc.DKTatlas+aseg.nii.gz", "aseg.presurf.mgz", "aseg.auto_noCCseg.mgz", "ribbon.mgz",
        "lh.ribbon.mgz", "sub-01_aseg.nii.gz", "lh.hippoAmygLabels-T1.v21.mgz", "filled.mgz",
        "brainstemSsLabels.v12.mgz", "ThalamicNuclei.v12.T1.mgz", "gtmseg.mgz",
        "AAL3v1.nii.gz", "AAL.nii", "aal116MNI.nii.gz", "atlas-desikankilliany.nii.gz",
        "tpl-MNI_atlas-Schaefer2018_desc-400Parcels7Networks.nii.gz",
        "HarvardOxford-cort-maxprob-thr25-1mm.nii.gz", "BN_Atlas_246_1mm.nii.gz",
        "Segmentation-label.nrrd", "annotation_25.nii.gz", "img_cp_masks.tif", "masks.tif",
        "Schaefer2018_400Parcels_7Networks_order_FSLMNI152_1mm.nii.gz", "T1_pveseg.nii.gz",
        "AtroposSegmentation.nii.gz", "sub-01_all_fast_firstseg.nii.gz",
        "hcpmmp1_parcels_coreg.nii",
        "my parcellation v2.nii", "BrainExtractionMask.nii.gz", "dk-labels.tiff", "nodes.nii.gz",
    ],
)  # fmt: skip
def test_names_of_labels_are_known(name):
    suggested = suggest_type(name, 1)
    assert suggested.type == "segmentation"
    assert "\n" not in suggested.reason


@pytest.mark.parametrize(
    "name",
    [
        "sub-01_T1w.nii.gz", "sub-01_label-GM_probseg.nii.gz", "T1.mgz", "orig.mgz", "brain.mgz",
        "brainmask.mgz", "norm.mgz", "nu.mgz", "wm_fa.nii", "maskedbrain.nii", "", "aseg/T1.mgz",
        "aseg_to_T1w.nii.gz", "dseg_T1w.nii.gz", "segmentation.old/bold.nii",
        "HarvardOxford-cort-prob-1mm.nii.gz", "average_template_25.nii.gz", "atlas_t1.nii.gz",
        "T1_pve_0.nii.gz", "brainmask.nii.gz", "T1_masked.nii.gz", "tpl-X_atlas-Y_probseg.nii.gz",
        "atlas/T1.nii", "scan.nii.gz", "labels/em.tif", "islands.npy",
    ],
)  # fmt: skip
def test_everything_else_is_an_image(name):
    assert suggest_type(name, 1).type == "image"


@pytest.mark.parametrize(
    ("code", "expected"),
    [(1002, "segmentation"), (1003, "segmentation"), (5, "image"), (1007, "image")],
)
def test_the_intent_comes_before_the_name(code, expected):
    name = "sub-01_T1w.nii" if expected == "segmentation" else "sub-01_dseg.nii"
    assert suggest_type(name, 1, code).type == expected


def test_several_channels_are_an_image_unless_they_are_called_labels():
    assert suggest_type("sub-01.nii", 3) == ("image", "it has 3 channels")
    assert suggest_type("sub-01_bold.nii", 3) == ("image", "it has 3 channels")
    assert suggest_type("sub-01_dseg.nii", 3).type == "segmentation"
    assert suggest_type("sub-01.nii", 3, 1002).type == "segmentation"


def test_atlases_of_several_channels_are_images():
    assert suggest_type("atlas-striatum.nii.gz", 1).type == "segmentation"
    assert suggest_type("atlas-striatum.nii.gz", 3).type == "image"

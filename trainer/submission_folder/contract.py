"""What the folder promises to whoever runs it: pgolf.yaml and requirements.txt."""

from trainer.evaluation.scoring import evaluation_windows
from trainer.evaluation.stream import MOST_STREAM_LANES, unstreamed
from trainer.quantization.codecs import OPTIONAL_PACKAGES
from trainer.recipe import Recipe
from trainer.run_log import ARTIFACT_NAME
from trainer.submission_folder.folder_request import SCRIPT_NAME, FolderRequest


def contract(request: FolderRequest) -> str:
    """The content of pgolf.yaml: how to train, how to evaluate, what stands between the two."""
    return (
        f"version: 1\ntrain: {request.launch} train\nevaluate: {request.launch} evaluate\n"
        f"artifact: [{ARTIFACT_NAME}]\ncode: [{SCRIPT_NAME}]\n"
        f"{documents_line(request.resolved.recipe)}{stream_lines(request.resolved.recipe)}"
    )


def documents_line(recipe: Recipe) -> str:
    """What is promised of documents: that each is scored alone, or knows no word of others.

    Packed documents stand in windows that end where they end, so that their places count.
    """
    learning, model = recipe.evaluation, recipe.model
    if learning.ttt_enabled:
        shares = learning.ttt_warm_start_a or learning.phased_ttt_num_phases > 0
        return "" if shares else "documents: alone\n"
    looks_back = model.use_smeargate or model.bigram_hash_buckets > 0
    looks_back |= model.smear_gate_enabled and not model.smear_gate_bos_fix
    return "documents: apart\n" if recipe.batch.pack_documents and not looks_back else ""


def stream_lines(recipe: Recipe) -> str:
    """How the script predicts token by token; nothing where it does not."""
    if unstreamed(recipe):
        return ""
    windows = evaluation_windows(recipe)
    pieces, lanes = str(windows.stride), MOST_STREAM_LANES
    if recipe.evaluation.ttt_enabled:
        pieces, lanes = "documents", recipe.evaluation.ttt_batch_size
    elif windows.context % windows.stride:
        return ""
    return (
        f"stream:\n  command: python {SCRIPT_NAME} stream\n  pieces: {pieces}\n"
        f"  context: {0 if pieces == 'documents' else windows.context}\n  lanes: {lanes}\n"
    )


def requirements(request: FolderRequest) -> str:
    """The content of requirements.txt: what the script imports, the recipe's codec included."""
    codec = OPTIONAL_PACKAGES.get(request.resolved.recipe.quantization.compressor)
    packages = {"numpy", "sentencepiece", "torch"} | ({codec} if codec else set())
    return "\n".join(sorted(packages)) + "\n"

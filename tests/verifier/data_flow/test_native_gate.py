import pytest

from verifier.data_flow.native_gate import native_gates

KERNEL = """
void hints(const uint16_t* tokens, int n, const uint8_t* starts_word, uint16_t* out) {
    for (int i = 0; i < n; i++) {
        const uint16_t tok = tokens[i];  // the token to be predicted
        const bool is_new = starts_word[%s];
        if (!is_new) out[i] = lookup(state);
        else out[i] = 0;
        if (is_new) reset(state);
        update(state, tok);
    }
}
"""


def test_a_flag_of_the_present_token_asked_before_the_prediction_is_a_gate():
    (gate,) = native_gates(KERNEL % "tok")
    assert gate.code == "if (!is_new) out[i] = lookup(state);"
    assert (KERNEL % "tok").splitlines()[gate.line - 1].strip() == gate.code


@pytest.mark.parametrize("index", ["prev", "tokens[i - 1]"])
def test_a_flag_of_an_earlier_token_is_no_gate(index):
    assert not list(native_gates(KERNEL % index))


def test_a_flag_asked_after_the_prediction_is_no_gate():
    kernel = (KERNEL % "tok").replace("if (!is_new) ", "").replace("        else out[i] = 0;\n", "")
    assert "is_new" in kernel and not list(native_gates(kernel))


def test_a_list_of_positions_is_seen_through():
    kernel = KERNEL.replace("tokens[i];", "tokens[p];").replace(
        "const uint16_t tok", "long p = where[i]; const uint16_t tok"
    )
    assert list(native_gates(kernel % "tok"))

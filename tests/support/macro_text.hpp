// Turns the expansion of a macro into text.
#pragma once

#define EIGENFORMER_TEST_TEXT_(...) #__VA_ARGS__
#define EIGENFORMER_TEST_TEXT(...) EIGENFORMER_TEST_TEXT_(__VA_ARGS__)

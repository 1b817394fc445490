#include "cli/command.h"

int main(int argc, char** argv) { return tokamak::cli::run_main(argc, argv); }

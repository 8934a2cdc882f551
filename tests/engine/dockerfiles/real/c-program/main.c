#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv) {
    printf("hello, %s, from %d\n", argc > 1 ? argv[1] : "nobody", (int)getuid());
    return 0;
}

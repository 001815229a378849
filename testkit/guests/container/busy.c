/* A neighbour that never rests: what runs beside the container that is moved. */
int main(void)
{
    for (;;)
        continue;
}

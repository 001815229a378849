/*
 * A guest that sleeps: a timer wakes it HZ times a second, and it counts that in its heartbeat page.
 * It costs its host next to nothing, where the ring-3 guest takes a whole processor, so it is for
 * tests of everything but the time that a guest stands still. It needs ring 0 and a PC's timer and
 * interrupt controller, which every Linux guest needs as well.
 *
 * Layout of guest-physical memory: the image at 1 MiB, the heartbeat page at 2 MiB, the interrupt
 * table and the stack after it. There is no paging.
 */

        .set    HZ, 200
        .set    HEARTBEAT, 0x200000
        .set    INTERRUPTS, HEARTBEAT + 0x1000
        .set    END, HEARTBEAT + 0x3000
        .set    MULTIBOOT_MAGIC, 0x1badb002
        .set    CODE, 8
        .set    DATA, 16

        # IBM PC/AT: two interrupt controllers (8259A) and a timer (8254) of 1193182 Hz.
        .set    PIC, 0x20
        .set    PIC_MASK, 0x21
        .set    SECOND_PIC_MASK, 0xa1
        .set    TIMER, 0x40
        .set    TIMER_MODE, 0x43
        .set    DIVISOR, 1193182 / HZ
        .set    FIRST_VECTOR, 0x20
        .set    SPURIOUS, FIRST_VECTOR + 7

        .section .multiboot, "a"
        .long   MULTIBOOT_MAGIC, 0, -MULTIBOOT_MAGIC

        .text
        .code32
        .globl  start
start:
        cli
        cld
        # After a reset RAM still holds the last run's page.
        movl    $HEARTBEAT, %edi
        movl    $(END - HEARTBEAT) / 4, %ecx
        xorl    %eax, %eax
        rep stosl
        lgdt    gdt_pointer
        ljmp    $CODE, $flat
flat:   movl    $DATA, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $END, %esp

        movl    $tick, %eax
        movl    $INTERRUPTS + FIRST_VECTOR * 8, %edi
        call    gate
        movl    $nothing, %eax
        movl    $INTERRUPTS + SPURIOUS * 8, %edi
        call    gate
        lidt    interrupts_pointer

        .irp    byte, 0x11
        movb    $\byte, %al
        outb    %al, $PIC
        .endr
        .irp    byte, FIRST_VECTOR, 4, 1, 0xfe  # the last one masks all but the timer
        movb    $\byte, %al
        outb    %al, $PIC_MASK
        .endr
        movb    $0xff, %al
        outb    %al, $SECOND_PIC_MASK
        movb    $0x34, %al                      # counter 0, both bytes, again and again
        outb    %al, $TIMER_MODE
        .irp    byte, DIVISOR & 0xff, DIVISOR >> 8
        movb    $\byte, %al
        outb    %al, $TIMER
        .endr

        # Each magic word is the XOR of two constants: the words themselves must stand nowhere in
        # RAM but in the heartbeat page, which is found by them.
        movl    $HEARTBEAT, %edi
        movl    $0x7c1f3a55, %eax
        movl    $0xe9d204b8, %edx
        movl    $0xe1255640, %ecx
        xorl    %eax, %ecx
        movl    %ecx, 12(%edi)
        movl    $0x7134a01d, %ecx
        xorl    %edx, %ecx
        movl    %ecx, 8(%edi)
        movl    $1, 16(%edi)
        xorl    $0x34466a13, %eax
        xorl    $0xbb814c89, %edx
        movl    %edx, (%edi)
        movl    %eax, 4(%edi)
sleep:  sti
        hlt
        jmp     sleep

# A 32-bit interrupt gate at %edi for the code at %eax.
gate:   movw    %ax, (%edi)
        movw    $CODE, 2(%edi)
        movw    $0x8e00, 4(%edi)
        shrl    $16, %eax
        movw    %ax, 6(%edi)
        ret

tick:   pushl   %eax
        addl    $1, HEARTBEAT + 24
        adcl    $0, HEARTBEAT + 28
        movb    $0x20, %al                      # end of interrupt
        outb    %al, $PIC
        popl    %eax
nothing:
        iretl

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9b000000ffff              # ring 0, 32-bit code
        .quad   0x00cf93000000ffff              # ring 0, data
gdt_pointer:
        .word   gdt_pointer - gdt - 1
        .long   gdt
interrupts_pointer:
        .word   (SPURIOUS + 1) * 8 - 1
        .long   INTERRUPTS
